import { EngineError } from "@longshore/errors";
import { type OutgoingEvent, STREAM } from "./envelope.ts";
import { NatsLink, type Reply } from "./nats-link.ts";
import { parseNatsUrl } from "./nats-url.ts";

export interface StreamGapsOptions {
  /** `nats://host:port`. */
  url: string;
  tokenFile?: string | undefined;
}

/** A stream that says nothing for so long, and has not said all, is not asked any more. */
const SILENCE_MS = 2000;
/** Clocks may have been set, and an event is stored after it happened. */
const MARGIN_MS = 60_000;

/**
 * Which of these events, oldest first, the stream doesn't have and should: what it has dropped because of its age or size is not missing.
 *
 * @throws EngineError `unavailable` while NATS is away
 */
export async function findMissing(
  events: readonly OutgoingEvent[],
  { url, tokenFile }: StreamGapsOptions,
): Promise<OutgoingEvent[]> {
  const [first] = events;
  if (!first) return [];
  const link = await NatsLink.connect(parseNatsUrl(url), tokenFile);
  try {
    const state = await streamState(link);
    if (!state) return [...events];
    const since = Math.min(...events.map(timeOf));
    const known = await idsSince(link, new Date(since - MARGIN_MS), state);
    // A stream that begins later than with its first message has dropped what was before.
    const begin = state.first_seq > 1 ? Date.parse(state.first_ts) : 0;
    return events.filter((event) => !known.has(event.id) && timeOf(event) >= begin);
  } finally {
    link.close();
  }
}

interface StreamState {
  first_seq: number;
  first_ts: string;
  last_seq: number;
  last_ts: string;
}

/** undefined when there is no stream. */
async function streamState(link: NatsLink): Promise<StreamState | undefined> {
  try {
    const { state } = (await link.ask(`STREAM.INFO.${STREAM}`, {})) as Reply & { state: StreamState };
    return state;
  } catch (error) {
    if (!(error instanceof Error && error.message.includes("(404)"))) throw error;
    await link.createStream();
    return undefined;
  }
}

/** The ids of the stream's messages, without their bodies. */
async function idsSince(
  link: NatsLink,
  since: Date,
  { last_seq, last_ts }: StreamState,
): Promise<Set<string>> {
  const ids = new Set<string>();
  if (last_seq === 0 || Date.parse(last_ts) < since.getTime()) return ids;
  const done = Promise.withResolvers<void>();
  const tooLate = () =>
    done.reject(new EngineError("unavailable", "the stream does not tell all that it has"));
  let silence = setTimeout(tooLate, SILENCE_MS);
  link.onBroken = done.reject;
  link.onMessage = ({ headers, reply }) => {
    clearTimeout(silence);
    silence = setTimeout(tooLate, SILENCE_MS);
    const id = /^Nats-Msg-Id: *(.*?)\r?$/m.exec(headers)?.[1];
    if (id !== undefined) ids.add(id);
    // Not the number of those still to come, which also stands there: it is wrong when the server was restarted.
    if (sequenceOf(reply) >= last_seq) done.resolve();
  };
  const inbox = `_INBOX.${crypto.randomUUID().replaceAll("-", "")}`;
  link.subscribe(inbox);
  try {
    await link.ask(`CONSUMER.CREATE.${STREAM}`, {
      stream_name: STREAM,
      config: {
        deliver_subject: inbox,
        deliver_policy: "by_start_time",
        opt_start_time: since.toISOString(),
        ack_policy: "none",
        replay_policy: "instant",
        headers_only: true,
        mem_storage: true,
        inactive_threshold: 10e9,
      },
    });
    await done.promise;
  } finally {
    clearTimeout(silence);
    done.promise.catch(() => {});
  }
  return ids;
}

/** `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.…`; newer servers put a domain and an account hash before the stream. */
function sequenceOf(reply: string): number {
  const words = reply.split(".");
  return Number(words[words.length === 9 ? 5 : 7]);
}

function timeOf({ payload }: OutgoingEvent): number {
  return Date.parse((JSON.parse(payload) as { time: string }).time);
}
