import { EngineError } from "@longshore/errors";
import { kill } from "@longshore/syscalls";
import type { Command, Globals } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { signal } from "../lifecycle.ts";
import { parseSignal } from "../signals.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function killCommand(parsed: Parsed, { root }: Globals): number {
  const [id = "", name = "SIGTERM"] = parsed.args;
  const number = parseSignal(name);
  const container = Container.load(root, id);
  const all = parsed.switches.has("all");
  const { group, saved } = container;
  if (container.status === "stopped") {
    // Without a pid namespace of its own the others live on when init is gone.
    const left = all || !saved.ownPidNamespace ? group.processes() : [];
    if (left.length === 0 && !all) throw new EngineError("failed_precondition", "container not running");
    for (const pid of left) kill(pid, number);
    return 0;
  }
  if (all || (number === 9 && !saved.ownPidNamespace)) {
    for (const pid of group.processes()) {
      try {
        kill(pid, number);
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
      }
    }
  } else {
    signal(saved.pid, number);
  }
  if (number === 9 && group.frozen) group.freeze(false);
  return 0;
}

export const commands: Record<string, Command> = {
  kill: {
    flags: { all: "switch" },
    aliases: { a: "all" },
    args: [1, 2],
    usage: "send a signal (SIGTERM) to a container",
    run: killCommand,
  },
};
