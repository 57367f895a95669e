import { EngineError, toEngineError } from "@longshore/errors";
import { TIMER_MAX_MS, within } from "../containers/kill-container.ts";
import type { Engine } from "../engine.ts";
import { acceptedType } from "../http/accept.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import { parseTime } from "../http/time.ts";
import type { EngineEvent } from "./engine-events.ts";
import { EVENT_FILTERS, eventMatches, showEvent } from "./event-filters.ts";

const UNREAD_MAX_BYTES = 1024 * 1024;
/** Events that wait while a client reads earlier ones. */
const WAITING_MAX = 10_000;

const SEQUENCE = "application/json-seq";
/** Forms of a stream of events that a client may choose from. */
const STREAM_TYPES = ["application/jsonl", "application/x-ndjson", SEQUENCE];
/** Before each event of a sequence (RFC 7464). */
const RECORD_SEPARATOR = "\x1e";

/** Of an answer with events: from when on there are any, where they were asked for from an earlier time. */
const KNOWN_SINCE_HEADER = "Longshore-Events-Since";

/** Past events when asked for, then events as they come, until `until` or the client goes away. */
export async function sendEvents(engine: Engine, call: ApiCall): Promise<void> {
  const filters = Filters.parse(call.query.get("filters"), EVENT_FILTERS);
  const since = call.query.get("since");
  const until = call.query.get("until");
  const sinceNano = since ? parseBound("since", since) : undefined;
  const untilNano = until ? parseBound("until", until) : undefined;
  if (sinceNano !== undefined && untilNano !== undefined && untilNano < sinceNano) {
    throw new EngineError(
      "invalid_argument",
      `\`since\` time (${since}) cannot be after \`until\` time (${until})`,
    );
  }
  const knowsMadeImages = call.atLeast("1.46");
  const wanted = (event: EngineEvent) =>
    (knowsMadeImages || event.Type !== "image" || event.Action !== "create") &&
    eventMatches(event, filters) &&
    (untilNano === undefined || event.timeNano <= untilNano);
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
    const { type, show } = formOf(call);
    const output = call.stream(type, headers);
    for (const event of past) {
      call.signal.throwIfAborted();
      // At the client's pace.
      if (!output.write(show(event))) await call.drained(output);
    }
    const send = (event: EngineEvent) => {
      if (!wanted(event)) return;
      // A client that doesn't read is let go before its events fill the memory.
      if (output.writableLength > UNREAD_MAX_BYTES) output.destroy();
      else output.write(show(event));
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

/** @throws EngineError `invalid_argument` that says which of the two is wrong */
function parseBound(name: "since" | "until", text: string): bigint {
  try {
    return parseTime(text);
  } catch (cause) {
    const { code, message } = toEngineError(cause);
    throw new EngineError(code, `invalid value for '${name}': ${message}`, { cause });
  }
}

/** The media type of the answer, and how an event looks in it. */
function formOf(call: ApiCall): { type: string; show: (event: EngineEvent) => string } {
  const isOfNow = call.atLeast("1.52");
  const usual = isOfNow ? "application/jsonl" : "application/json";
  const type = acceptedType(call.request.headers.accept, STREAM_TYPES) ?? usual;
  const before = type === SEQUENCE ? RECORD_SEPARATOR : "";
  return { type, show: (event) => `${before}${showEvent(event, { oldFields: !isOfNow })}` };
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
