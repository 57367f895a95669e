import type { Writable } from "node:stream";
import { COMMIT, VERSION } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { TIMER_MAX_MS, within } from "../containers/kill-container.ts";
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

const UNREAD_MAX_BYTES = 1024 * 1024;
/** Events that wait while a client reads earlier ones. */
const WAITING_MAX = 10_000;

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
    // What a browser asks of another origin: whatever the path, there is no more to say.
    { method: "OPTIONS", path: "/*", handler: (call) => call.empty(200) },
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

/** Of an answer with events: from when on there are any, where they were asked for from an earlier time. */
const KNOWN_SINCE_HEADER = "Longshore-Events-Since";

/** Past events when asked for, then events as they come, until `until` or the client goes away. */
async function sendEvents(engine: Engine, call: ApiCall): Promise<void> {
  const filters = Filters.parse(call.query.get("filters"), EVENT_FILTERS);
  const since = call.query.get("since");
  const until = call.query.get("until");
  const sinceNano = since ? parseTime(since) : undefined;
  const untilNano = until ? parseTime(until) : undefined;
  if (sinceNano !== undefined && untilNano !== undefined && untilNano < sinceNano) {
    throw new EngineError(
      "invalid_argument",
      `\`since\` time (${since}) cannot be after \`until\` time (${until})`,
    );
  }
  const wanted = (event: EngineEvent) =>
    eventMatches(event, filters) && (untilNano === undefined || event.timeNano <= untilNano);
  const { knownSince } = engine.events;
  const asksForPast = sinceNano !== undefined || untilNano !== undefined;
  const isCut = asksForPast && knownSince !== undefined && (sinceNano ?? 0n) < knownSince;
  const reading = asksForPast ? engine.events.since(sinceNano ?? 0n) : Promise.resolve([]);
  // What happens while the past is read comes after it.
  const meanwhile: EngineEvent[] = [];
  let isLagging = false;
  let stop = engine.events.listen((event) => {
    if (!wanted(event)) return;
    isLagging ||= meanwhile.length >= WAITING_MAX;
    if (!isLagging) meanwhile.push(event);
  });
  try {
    const past = (await reading).filter(wanted);
    const headers = isCut ? { [KNOWN_SINCE_HEADER]: secondsOf(knownSince) } : {};
    const output = call.stream("application/json", headers);
    await sendPast(past, output, call);
    const send = (event: EngineEvent) => {
      if (!wanted(event)) return;
      // A client that doesn't read is let go before its events fill the memory.
      if (output.writableLength > UNREAD_MAX_BYTES) output.destroy();
      else output.write(`${showEvent(event)}\n`);
    };
    for (const event of meanwhile) send(event);
    stop();
    if (isLagging) output.destroy();
    stop = engine.events.listen(send);
    await untilTime(untilNano, call.signal);
    output.end();
  } finally {
    stop();
  }
}

/** At the client's pace. */
async function sendPast(events: readonly EngineEvent[], output: Writable, call: ApiCall): Promise<void> {
  for (const event of events) {
    call.signal.throwIfAborted();
    if (!output.write(`${showEvent(event)}\n`)) await call.drained(output);
  }
}

/** Until a time, in nanoseconds since 1970, if it is given, or the client goes away. */
async function untilTime(end: bigint | undefined, signal: AbortSignal): Promise<void> {
  const gone = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
  while (!signal.aborted) {
    const leftMs = end === undefined ? undefined : Math.ceil(Number(end) / 1e6 - Date.now());
    if (leftMs !== undefined && leftMs <= 0) return;
    await within(gone, leftMs === undefined ? undefined : Math.min(leftMs, TIMER_MAX_MS));
  }
}

/** As `since` takes it: seconds with nanoseconds. */
function secondsOf(nanos: bigint): string {
  const digits = String(nanos).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}
