import fs from "node:fs";
import type { Suite } from "@longshore/suite";
import { AckPolicy, connect, DeliverPolicy, type NatsConnection, nanos } from "nats";

/** An event of `docker events`. */
export interface DockerEvent {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  /** All digits of it. */
  timeNano: string;
}

/** A client that listens to `docker events`, and after each interruption asks for what it missed. */
export class EventWitness implements AsyncDisposable {
  readonly events: DockerEvent[] = [];
  readonly #socket: string;
  readonly #stop = new AbortController();
  readonly #known = new Set<string>();
  readonly #done: Promise<void>;
  #sinceNano: string;

  constructor(socket: string) {
    this.#socket = socket;
    this.#sinceNano = nanoNow();
    this.#done = this.#watch();
  }

  /** What was seen of one container, oldest first. */
  of(id: string, action: string | RegExp): DockerEvent[] {
    return this.events.filter(
      ({ Actor, Action }) =>
        Actor.ID === id && (typeof action === "string" ? Action === action : action.test(Action)),
    );
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#read();
      } catch {
        // the daemon is away
      }
      await Bun.sleep(20);
    }
  }

  async #read(): Promise<void> {
    const since = this.#sinceNano.replace(/(\d{9})$/, ".$1");
    const response = await fetch(`http://docker/events?since=${since}`, {
      unix: this.#socket,
      signal: this.#stop.signal,
    });
    const reader = response.body?.getReader();
    if (!reader) return;
    // An abort ends the request, but not always a read of it that waits.
    this.#stop.signal.addEventListener("abort", () => void reader.cancel().catch(() => {}), { once: true });
    let text = "";
    const decoder = new TextDecoder();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += decoder.decode(part.value, { stream: true });
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines.filter(Boolean)) this.#take(line);
    }
  }

  #take(line: string): void {
    const timeNano = /"timeNano":(\d+)/.exec(line)?.[1] ?? "0";
    const event = { ...(JSON.parse(line) as Omit<DockerEvent, "timeNano">), timeNano };
    const key = `${timeNano} ${event.Type} ${event.Action} ${event.Actor.ID}`;
    // `since` includes its own moment, so the last one comes again.
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.events.push(event);
    if (BigInt(timeNano) > BigInt(this.#sinceNano)) this.#sinceNano = timeNano;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

function nanoNow(): string {
  return `${Date.now()}000000`;
}

/** An event as it lies in the stream. */
export interface StreamEvent {
  seq: number;
  id: string;
  topic: string;
  time: string;
  event: {
    container_id?: string;
    id?: string;
    exec_id?: string;
    pid?: number;
    exit_status?: number;
    exited_at?: string;
  };
}

const STREAM = "LONGSHORE_EVENTS";

/** Connect to the suite's NATS with its token. */
export function connectNats({ natsUrl, paths }: Suite): Promise<NatsConnection> {
  return connect({ servers: natsUrl, token: fs.readFileSync(paths.natsTokenFile, "utf8").trim() });
}

/** All events of some subjects that the stream holds, from a time on. */
export async function streamEvents(
  connection: NatsConnection,
  { filter, since }: { filter: string; since?: Date },
): Promise<StreamEvent[]> {
  const jsm = await connection.jetstreamManager();
  const { state } = await jsm.streams.info(STREAM);
  if (state.messages === 0 || (since && Date.parse(String(state.last_ts)) < since.getTime())) return [];
  // The server's own filter goes with a count of what is still to come that is wrong after its restarts, so that the end can't be told.
  const { name } = await jsm.consumers.add(STREAM, {
    ack_policy: AckPolicy.None,
    inactive_threshold: nanos(30_000),
    mem_storage: true,
    ...(since
      ? { deliver_policy: DeliverPolicy.StartTime, opt_start_time: since.toISOString() }
      : { deliver_policy: DeliverPolicy.All }),
  });
  const wanted = new RegExp(
    `^${filter.replaceAll(".", "\\.").replaceAll("*", "[^.]+").replace(/>$/, ".+")}$`,
  );
  const events: StreamEvent[] = [];
  const consumer = await connection.jetstream().consumers.get(STREAM, name);
  for (let last = 0, empty = 0; last < state.last_seq && empty < 5; ) {
    const before = last;
    for await (const message of await consumer.fetch({ max_messages: 5000, expires: 1000 })) {
      last = message.seq;
      if (wanted.test(message.subject))
        events.push({ ...message.json<Omit<StreamEvent, "seq">>(), seq: message.seq });
      if (last >= state.last_seq) break;
    }
    if (last === before) empty++;
  }
  await jsm.consumers.delete(STREAM, name).catch(() => false);
  return events;
}
