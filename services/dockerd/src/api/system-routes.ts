import { COMMIT, VERSION } from "@longshore/cli";
import type { Engine } from "../engine.ts";
import type { EngineEvent } from "../events/engine-events.ts";
import { EVENT_FILTERS, eventMatches, showEvent } from "../events/event-filters.ts";
import { API_VERSION, MIN_API_VERSION } from "../http/api-version.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";
import { parseTime } from "../http/time.ts";
import { diskUsage } from "../system/disk-usage.ts";
import { kernelVersion } from "../system/host-facts.ts";
import { daemonInfo } from "../system/info.ts";

/** Operations on the engine itself. */
export function systemRoutes(engine: Engine): Route[] {
  const ping = (call: ApiCall) =>
    call.text(200, "OK", {
      "Builder-Version": "1",
      Swarm: "inactive",
      "Cache-Control": "no-cache, no-store, must-revalidate",
      Pragma: "no-cache",
    });
  return [
    { method: "GET", path: "/_ping", handler: ping },
    { method: "HEAD", path: "/_ping", handler: ping },
    { method: "GET", path: "/version", handler: async (call) => call.json(200, await version(engine)) },
    { method: "GET", path: "/info", handler: async (call) => call.json(200, await daemonInfo(engine, call)) },
    {
      method: "GET",
      path: "/system/df",
      handler: async (call) => call.json(200, await diskUsage(engine, call)),
    },
    { method: "GET", path: "/events", handler: (call) => sendEvents(engine, call) },
  ];
}

async function version(engine: Engine): Promise<object> {
  const { version: containerd, revision } = await engine.containerd.version.version({});
  const details = {
    ApiVersion: API_VERSION,
    Arch: process.arch === "x64" ? "amd64" : process.arch,
    BuildTime: "",
    Experimental: "false",
    GitCommit: COMMIT,
    GoVersion: "",
    KernelVersion: kernelVersion(),
    MinAPIVersion: MIN_API_VERSION,
    Os: "linux",
  };
  return {
    Platform: { Name: "Longshore" },
    Components: [
      { Name: "Engine", Version: VERSION, Details: details },
      { Name: "containerd", Version: containerd, Details: { GitCommit: revision } },
    ],
    Version: VERSION,
    ...details,
    Experimental: false,
  };
}

/** Past events when asked for, then events as they come, until `until` or the client goes away. */
async function sendEvents(engine: Engine, call: ApiCall): Promise<void> {
  const filters = Filters.parse(call.query.get("filters"), EVENT_FILTERS);
  const since = call.query.get("since");
  const until = call.query.get("until");
  const sinceNano = since ? parseTime(since) : undefined;
  const untilNano = until ? parseTime(until) : undefined;
  const nowNano = BigInt(Date.now()) * 1_000_000n;
  const output = call.stream("application/json");
  const send = (event: EngineEvent) => {
    if (!eventMatches(event, filters) || (untilNano !== undefined && event.timeNano > untilNano)) return;
    // A client that doesn't read is let go before its events fill the memory.
    if (output.writableLength > 1024 * 1024) output.destroy();
    else output.write(`${showEvent(event)}\n`);
  };
  const past = sinceNano !== undefined || untilNano !== undefined ? engine.events.since(sinceNano ?? 0n) : [];
  for (const event of past) send(event);
  if (untilNano !== undefined && untilNano <= nowNano) {
    output.end();
    return;
  }
  const stop = engine.events.listen(send);
  await new Promise<void>((resolve) => {
    call.signal.addEventListener("abort", () => resolve(), { once: true });
    if (call.signal.aborted) resolve();
    if (untilNano !== undefined) setTimeout(resolve, Number((untilNano - nowNano) / 1_000_000n));
  });
  stop();
  output.end();
}
