import { EngineError } from "@longshore/errors";
import type { Hook, HookName, Hooks, State } from "@longshore/oci";
import { errnoNumber, errnoText } from "@longshore/syscalls";
import { log } from "./log.ts";

function run(name: HookName, index: number, hook: Hook, input: string, cwd: string): void {
  const [, ...args] = hook.args ?? [hook.path];
  let result: ReturnType<typeof Bun.spawnSync>;
  try {
    result = Bun.spawnSync([hook.path, ...args], {
      argv0: hook.args?.[0] ?? hook.path,
      cwd,
      env: Object.fromEntries(
        (hook.env ?? []).map((entry) => {
          const equals = entry.indexOf("=");
          return equals < 0 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
        }),
      ),
      stdin: Buffer.from(input),
      stdout: "pipe",
      stderr: "pipe",
      ...(hook.timeout === undefined ? {} : { timeout: hook.timeout * 1000, killSignal: "SIGKILL" as const }),
    });
  } catch (error) {
    throw new EngineError("internal", `error running ${name} hook #${index}: ${whyNotStarted(hook, error)}`, {
      cause: error,
    });
  }
  if (result.success) return;
  const output = `stdout: ${result.stdout?.toString() ?? ""}, stderr: ${result.stderr?.toString() ?? ""}`;
  const why =
    result.exitedDueToTimeout === true
      ? `hook ran past specified timeout of ${hook.timeout}s`
      : `exit status ${result.exitCode ?? `signal ${result.signalCode}`}, ${output}`;
  throw new EngineError("internal", `error running ${name} hook #${index}: ${why}`);
}

function whyNotStarted({ path }: Hook, error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const number = "code" in error ? errnoNumber(String(error.code)) : undefined;
  return number === undefined ? error.message : `fork/exec ${path}: ${errnoText(number)}`;
}

/** Run the hooks of one kind in the runtime's namespaces, one after the other; the first failure ends it. */
export function runHooks(hooks: Hooks | undefined, name: HookName, state: State): void {
  const list = hooks?.[name];
  if (!list || list.length === 0) return;
  const input = JSON.stringify(state);
  for (const [index, hook] of list.entries()) run(name, index, hook, input, state.bundle);
}

/** As {@link runHooks}, for kinds whose failure is only logged and doesn't keep the others from running (poststop). */
export function runHooksToTheEnd(hooks: Hooks | undefined, name: HookName, state: State): void {
  for (const [index, hook] of (hooks?.[name] ?? []).entries()) {
    try {
      run(name, index, hook, JSON.stringify(state), state.bundle);
    } catch (error) {
      log("warning", error instanceof Error ? error.message : String(error));
    }
  }
}
