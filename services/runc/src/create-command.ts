import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { absolute, type Globals } from "./command.ts";
import { createContainer } from "./create.ts";
import type { Parsed } from "./flags.ts";
import { preservedFds } from "./preserved-fds.ts";

export const CREATE_FLAGS = {
  bundle: "value",
  "console-socket": "value",
  "pid-file": "value",
  "no-pivot": "switch",
  "no-new-keyring": "switch",
  "preserve-fds": "value",
  "pidfd-socket": "value",
} as const;

/** Make a container as `create` and `run` are told; the pid of its init process. */
export function createFromFlags(parsed: Parsed, { root }: Globals, id: string): number {
  if (parsed.values.has("pidfd-socket"))
    throw new EngineError("unimplemented", "--pidfd-socket is not supported");
  const pidFile = parsed.values.get("pid-file");
  const consoleSocket = parsed.values.get("console-socket");
  return createContainer({
    root,
    id,
    bundle: absolute(parsed.values.get("bundle") ?? process.cwd()).replace(/(?<=.)\/+$/, ""),
    pidFile: pidFile === undefined ? undefined : absolute(pidFile),
    consoleSocket: consoleSocket === undefined ? undefined : absolute(consoleSocket),
    noPivot: parsed.switches.has("no-pivot"),
    noNewKeyring: parsed.switches.has("no-new-keyring"),
    preserveFds: preservedFds(parsed),
  });
}

/** A failure of `create` or `run`, in the original's words for its callers. */
export function wrapped<T>(verb: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const code = error instanceof EngineError ? error.code : "internal";
    const message = error instanceof Error ? error.message : String(error);
    const start = error instanceof EngineError ? "" : "unable to start container process: ";
    throw new EngineError(code, `runc ${verb} failed: ${start}${message}`, { cause: error });
  }
}
