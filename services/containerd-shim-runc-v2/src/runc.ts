import { EngineError, isErrno } from "@longshore/errors";
import { exists, readText, writeFile } from "@longshore/syscalls";
import { runtimeEnvironment, variables } from "./environment.ts";
import { dirname, removeIfThere } from "./paths.ts";
import { spawned } from "./reaper.ts";

export interface RuncOptions {
  /** A path. */
  binary: string;
  /** Where the runtime keeps its state, the namespace included. */
  root: string;
  systemdCgroup: boolean;
  bundle: string;
}

type Stdio = readonly [number | "ignore", number | "ignore", number | "ignore"];

/** The runtime's command line, as the original calls it. */
export class Runc {
  readonly #globals: string[];
  readonly #binary: string;
  readonly #bundle: string;

  constructor({ binary, root, systemdCgroup, bundle }: RuncOptions) {
    this.#binary = binary;
    this.#bundle = bundle;
    this.#globals = ["--root", root, ...(systemdCgroup ? ["--systemd-cgroup"] : [])];
  }

  /**
   * Run one command.
   *
   * @param what begins the error message, e.g. "OCI runtime create failed"
   * @throws EngineError with the runtime's own last message
   */
  async run(
    what: string,
    args: readonly string[],
    { stdio = ["ignore", "ignore", "ignore"], stdin }: { stdio?: Stdio; stdin?: Uint8Array } = {},
  ): Promise<void> {
    // Of its own, so that two at once don't read each other's errors.
    const log = `${this.#bundle}/${args[0] === "create" ? "log.json" : `log-${args[0]}-${nextLog++}.json`}`;
    const argv = [this.#binary, ...this.#globals, "--log", log, "--log-format", "json", ...args];
    try {
      const child = Bun.spawn(argv, {
        cwd: this.#bundle,
        env: runtimeEnvironment(),
        stdio: [stdin ?? stdio[0], stdio[1], stdio[2]],
      });
      const status = await spawned(child);
      if (status !== 0) throw runtimeError(what, log, status);
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError("unknown", `${what}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    } finally {
      if (args[0] !== "create") removeIfThere(log);
    }
  }
}

let nextLog = 1;

/**
 * @param binary a name on PATH, or a path; empty: ours, beside this executable, or else `runc` on PATH
 * @throws EngineError `not_found`
 */
export function findRunc(binary: string): string {
  if (binary.includes("/")) return binary;
  const beside = `${dirname(process.execPath)}/${binary || "runc"}`;
  if (binary === "" && exists(beside)) return beside;
  const found = Bun.which(binary || "runc", {
    PATH: `${variables().get("PATH") ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`,
  });
  if (!found)
    throw new EngineError("not_found", `runtime ${binary || "runc"} is neither beside the shim nor on PATH`);
  return found;
}

function runtimeError(what: string, log: string, status: number): EngineError {
  const message = lastMessage(log) ?? `exit status ${status}${whyNoLog(log)}`;
  return new EngineError("unknown", `${what}: ${message}`);
}

/** A runtime that finds no room for its log can't say that there is none. */
function whyNoLog(log: string): string {
  try {
    writeFile(log, "\n");
    return "";
  } catch (error) {
    return `: its log: ${error instanceof Error ? error.message : error}`;
  }
}

/** The last error that the runtime logged. */
export function lastMessage(log: string): string | undefined {
  let text: string;
  try {
    text = readText(log);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
  for (const line of text.trimEnd().split("\n").reverse()) {
    try {
      const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
      if (msg && (level === "error" || level === "fatal")) return msg.trim();
    } catch {
      // the runtime was killed while it wrote
    }
  }
  return undefined;
}
