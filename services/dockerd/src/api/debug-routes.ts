import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Route } from "../http/server.ts";

/** Profiles are of Go's runtime. */
const PROFILES = ["/debug/pprof", "/debug/pprof/*"];

/** What a daemon tells of itself to who looks for its faults. */
export function debugRoutes(engine: Engine): Route[] {
  return [
    { method: "GET", path: "/debug/vars", handler: (call) => call.json(200, variables(engine)) },
    ...PROFILES.map(
      (path): Route => ({
        method: "GET",
        path,
        handler: () => {
          throw new EngineError("unimplemented", "profiles of pprof are not supported");
        },
      }),
    ),
  ];
}

/** With the names of Go's expvar where it has the same. */
function variables({ containers, execs, events, startedAt }: Engine): object {
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  return {
    cmdline: [process.argv0, ...process.argv.slice(2)],
    memory: { rss, heapTotal, heapUsed, external },
    cpu: process.cpuUsage(),
    uptimeSeconds: Math.trunc((Date.now() - startedAt.getTime()) / 1000),
    openFiles: fs.readdirSync("/proc/self/fd").length,
    containers: containers.list().length,
    execs: execs.count,
    eventsListeners: events.listenerCount,
  };
}
