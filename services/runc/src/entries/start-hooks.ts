import type { State } from "@longshore/oci";
import { execInContainer } from "../exec.ts";
import { runHookList } from "../hooks-in-container.ts";
import { savedSpec } from "../saved-spec.ts";
import type { Container } from "../state.ts";

// A file of its own, which `start` loads only where there are such hooks.

/**
 * Run a container's startContainer hooks: inside, with the rights of its process and no others, for their programs may be the
 * image's.
 */
export function runStartHooks(container: Container, root: string, state: State): void {
  const spec = savedSpec(container);
  const { process } = spec;
  if (!process) return;
  runHookList("startContainer", container.hooks.startContainer ?? [], state, (hook, stdin) =>
    execInContainer({
      container,
      spec,
      process: {
        ...process,
        args: hook.args ?? [hook.path],
        env: hook.env ?? process.env ?? [],
        terminal: false,
      },
      programPath: hook.path,
      stdin,
      root,
      pidFile: undefined,
      consoleSocket: undefined,
      pidfdSocket: undefined,
      foreground: undefined,
      preserveFds: 0,
      subgroups: new Map(),
    }),
  );
}
