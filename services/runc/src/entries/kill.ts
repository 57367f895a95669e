import { EngineError } from "@longshore/errors";
import type { Command, Globals } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { signalInit } from "../lifecycle.ts";
import { parseSignal } from "../signals.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function killCommand(parsed: Parsed, { root }: Globals): number {
  const [id = "", name = "SIGTERM"] = parsed.args;
  const container = Container.load(root, id);
  const number = parseSignal(name);
  const all = parsed.switches.has("all");
  const { group, saved } = container;
  const { status } = container;
  if (status === "stopped" || status === "creating") {
    // Without a pid namespace of its own the others live on when init is gone.
    const left = status === "stopped" && (all || !saved.ownPidNamespace) ? group.processes() : [];
    if (left.length === 0 && !all) throw new EngineError("failed_precondition", "container not running");
    if (left.length > 0) group.signal(number);
    return 0;
  }
  if (all || (number === 9 && !saved.ownPidNamespace)) group.signal(number);
  else signalInit(container, number);
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
