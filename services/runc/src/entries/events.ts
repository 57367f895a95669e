import { containerStats, statsJson } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import { type Command, type Globals, idOf, print } from "../command.ts";
import { type Parsed, parseDuration } from "../flags.ts";
import { OomWatch } from "../oom-watch.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function printStats({ saved, group }: Container): void {
  print(`${statsJson({ type: "stats", id: saved.id, data: containerStats(group) })}\n`);
}

function events(parsed: Parsed, { root }: Globals): number {
  const intervalMs = parseDuration(parsed.values.get("interval") ?? "5s") ?? 0;
  const container = Container.load(root, idOf(parsed));
  if (intervalMs <= 0) {
    throw new EngineError("invalid_argument", "duration interval must be greater than 0");
  }
  if (container.status === "stopped") {
    throw new EngineError("failed_precondition", `container with id ${idOf(parsed)} is not running`);
  }
  if (parsed.switches.has("stats")) {
    printStats(container);
    return 0;
  }
  using watch = new OomWatch(container.group);
  for (let next = Date.now() + intervalMs; ; ) {
    const event = watch.wait(Math.max(0, next - Date.now()));
    if (event === "ended") return 0;
    if (event === "oom") print(`${JSON.stringify({ type: "oom", id: container.saved.id })}\n`);
    if (Date.now() < next) continue;
    printStats(container);
    next += intervalMs;
  }
}

export const commands: Record<string, Command> = {
  events: {
    flags: { interval: "duration", stats: "switch" },
    args: [1, 1],
    usage: "print what a container uses, every five seconds, and when its memory runs out",
    run: events,
  },
};
