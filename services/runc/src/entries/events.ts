import { containerStats, statsJson } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import { type Command, type Globals, idOf, print } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function events(parsed: Parsed, { root }: Globals): number {
  if (!parsed.switches.has("stats")) {
    throw new EngineError("unimplemented", "events without --stats is not supported");
  }
  const container = Container.load(root, idOf(parsed));
  if (container.status === "stopped") {
    throw new EngineError("failed_precondition", `container with id ${idOf(parsed)} is not running`);
  }
  print(`${statsJson({ type: "stats", id: container.saved.id, data: containerStats(container.group) })}\n`);
  return 0;
}

export const commands: Record<string, Command> = {
  events: {
    flags: { stats: "switch", interval: "value" },
    args: [1, 1],
    usage: "print a container's use of resources (--stats)",
    run: events,
  },
};
