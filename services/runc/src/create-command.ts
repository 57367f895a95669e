import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { absolute, type Globals } from "./command.ts";
import { createContainer } from "./create.ts";
import type { Parsed } from "./flags.ts";
import { listenFds, preservedFds } from "./preserved-fds.ts";
import type { Foreground } from "./process-setup.ts";

export const CREATE_FLAGS = {
  bundle: "value",
  "console-socket": "value",
  "pid-file": "value",
  "no-pivot": "switch",
  "no-new-keyring": "switch",
  "preserve-fds": "number",
  "pidfd-socket": "value",
} as const;

/** Make a container as `create` and `run` are told. */
export function createFromFlags(
  parsed: Parsed,
  { root, systemdCgroup }: Globals,
  { id, foreground }: { id: string; foreground: Foreground | undefined },
): number {
  const path = (flag: string) => {
    const value = parsed.values.get(flag);
    return value === undefined || value === "" ? undefined : absolute(value);
  };
  return createContainer({
    root,
    systemdCgroup,
    id,
    bundle: absolute(parsed.values.get("bundle") ?? process.cwd()).replace(/(?<=.)\/+$/, ""),
    pidFile: path("pid-file"),
    consoleSocket: path("console-socket"),
    pidfdSocket: path("pidfd-socket"),
    foreground,
    noPivot: parsed.switches.has("no-pivot"),
    noNewKeyring: parsed.switches.has("no-new-keyring"),
    listenFds: listenFds(),
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
