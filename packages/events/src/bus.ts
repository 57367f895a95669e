import fs from "node:fs";
import { errorCode } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import {
  AckPolicy,
  type ConsumerConfig,
  connect,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type NatsConnection,
  NatsError,
  nanos,
  tokenAuthenticator,
} from "nats";
import { DiskQueue } from "./disk-queue.ts";
import { type EventEnvelope, type OutgoingEvent, STREAM, token } from "./envelope.ts";
import { NO_ROOM, STREAM_BYTES, streamConfig } from "./nats-link.ts";
import { parseNatsUrl } from "./nats-url.ts";
import { assertServerProcess, serverPidFile } from "./server-process.ts";

export interface EventBusOptions {
  /** `nats://host:port`. */
  url: string;
  /** Read at each connect. Where FILE.pid names the server's process, only that gets it. */
  tokenFile?: string | undefined;
  /** Where events wait while NATS is away; its directory must exist. */
  queueFile: string;
  queueLimitBytes?: number;
  /** Shown by the server, e.g. `containerd`. */
  name: string;
  log?: () => Logger;
}

export interface SubscribeOptions {
  /** Only events of this namespace. */
  namespace?: string;
  /** Only this topic and those below it: `/tasks`, `/tasks/exit`, … */
  topic?: string;
  /**
   * Name of a consumer that NATS remembers: it goes on after the last event that was handled. Without one, only events
   * from now on, or from `since`, are seen; across reconnects none is lost, as long as the process lives.
   */
  durable?: string;
  since?: Date;
  signal: AbortSignal;
}

/** A daemon's end of the event stream. */
export interface EventBus {
  /** Hand an event over. Never fails and never waits: while NATS is away, events queue on disk and go out in order later. */
  publish(event: OutgoingEvent): void;
  /**
   * Call the handler with each event, one after another, until the signal aborts: through outages and restarts of NATS.
   * An event may come twice. A handler that throws has its event brought again (durable), or is only logged.
   */
  subscribe(options: SubscribeOptions, handle: (event: EventEnvelope) => Promise<void> | void): Promise<void>;
  /** The youngest event of a subject that the stream has; waits until NATS is there, or the signal aborts. */
  last(subject: string, signal: AbortSignal): Promise<EventEnvelope | undefined>;
  readonly isConnected: boolean;
  /** Wait until all events so far were delivered, but not longer than this; true when they were. */
  flush(timeoutMs: number): Promise<boolean>;
  /** Send what can be sent at once, and hang up. What is left stays in the queue file. */
  close(): Promise<void>;
}

/** Join the event stream. Returns at once; the connection is made, and made again, in the background. */
export function openEventBus(options: EventBusOptions): EventBus {
  return new NatsEventBus(options);
}

const RETRY_MS = 500;
/** Until events spill to disk, this many wait in memory for their acknowledgements. */
const MEMORY_LIMIT = 256;

/** How far a subscription is. */
interface Position {
  /** When the last event was stored, or from when on events are wanted. */
  since: Date;
  /** The stream's number of the last event; 0 before the first. */
  sequence: number;
}

interface Link {
  connection: NatsConnection;
  js: JetStreamClient;
}

class NatsEventBus implements EventBus {
  readonly #options: EventBusOptions;
  readonly #queue: DiskQueue;
  readonly #memory: OutgoingEvent[] = [];
  readonly #stopping = new AbortController();
  #link: Promise<Link> | undefined;
  #connection: NatsConnection | undefined;
  #connected = false;
  /** Why NATS could not be reached last; empty since it was. */
  #reason = "";
  #delivering: Promise<void> | undefined;

  constructor(options: EventBusOptions) {
    this.#options = options;
    this.#queue = new DiskQueue({ path: options.queueFile, limitBytes: options.queueLimitBytes ?? 16 << 20 });
    this.#kick();
  }

  get isConnected(): boolean {
    return this.#connected;
  }

  publish(event: OutgoingEvent): void {
    // Order: once something is on disk, everything younger goes there too.
    const fits = this.#connected && this.#queue.isEmpty && this.#memory.length < MEMORY_LIMIT;
    if (fits) this.#memory.push(event);
    else this.#spill(event);
    this.#kick();
  }

  get #isEmpty(): boolean {
    return this.#memory.length === 0 && this.#queue.isEmpty;
  }

  async subscribe(
    options: SubscribeOptions,
    handle: (event: EventEnvelope) => Promise<void> | void,
  ): Promise<void> {
    const { signal } = options;
    const position: Position = { since: options.since ?? new Date(), sequence: 0 };
    while (!signal.aborted && !this.#stopping.signal.aborted) {
      try {
        await this.#consume(options, position, handle);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log?.().debug({ err: error }, "event subscription interrupted");
        await pause(RETRY_MS, signal);
      }
    }
  }

  async last(subject: string, signal: AbortSignal): Promise<EventEnvelope | undefined> {
    while (!signal.aborted && !this.#stopping.signal.aborted) {
      try {
        const { connection } = await this.#connect();
        const manager = await connection.jetstreamManager();
        const message = await manager.streams.getMessage(STREAM, { last_by_subj: subject });
        return message.json<EventEnvelope>();
      } catch (error) {
        if (isNoMessage(error)) return undefined;
        await pause(RETRY_MS, signal);
      }
    }
    return undefined;
  }

  async flush(timeoutMs: number): Promise<boolean> {
    const end = performance.now() + timeoutMs;
    while (!this.#isEmpty && performance.now() < end) await Bun.sleep(10);
    return this.#isEmpty;
  }

  async close(): Promise<void> {
    if (this.#connected) await this.flush(1000);
    this.#stopping.abort();
    for (const event of this.#memory.splice(0)) this.#spill(event);
    await this.#connection?.close();
  }

  /** One run of a subscription, until it breaks. */
  async #consume(
    { namespace, topic, durable, signal }: SubscribeOptions,
    position: Position,
    handle: (event: EventEnvelope) => Promise<void> | void,
  ): Promise<void> {
    const { connection, js } = await this.#connect();
    signal.throwIfAborted();
    const jsm = await connection.jetstreamManager();
    // After the filter's last token any number may follow; NATS wants one before it.
    const words = [namespace ?? "", ...(topic?.split("/").filter(Boolean) ?? [""])];
    const tokens = words.map((word) => (word ? token(word) : "*"));
    const filter = `longshore.events.*.${tokens.join(".")}.>`;
    const { state } = await jsm.streams.info(STREAM);
    // The server came back with an older stream: what it has by now has numbers that were others' before.
    if (state.last_seq < position.sequence) position.sequence = 0;
    const start: Partial<ConsumerConfig> =
      position.sequence > 0
        ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: position.sequence + 1 }
        : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: position.since.toISOString() };
    const info = await jsm.consumers.add(STREAM, {
      ...(durable
        ? { durable_name: durable, ...(await existingStart(jsm, durable, position.since)) }
        : { ...start, inactive_threshold: nanos(60_000), mem_storage: true }),
      filter_subject: filter,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(30_000),
    });
    const consumer = await js.consumers.get(STREAM, info.name);
    const messages = await consumer.consume({ max_messages: 256, idle_heartbeat: 2000, expires: 10_000 });
    const stop = () => messages.stop();
    signal.addEventListener("abort", stop, { once: true });
    this.#stopping.signal.addEventListener("abort", stop, { once: true });
    void watchHealth(messages, stop);
    try {
      for await (const message of messages) {
        if (signal.aborted) break;
        await this.#handle(message, handle);
        position.sequence = message.seq;
        position.since = new Date(message.info.timestampNanos / 1e6);
      }
    } finally {
      messages.stop();
      signal.removeEventListener("abort", stop);
      this.#stopping.signal.removeEventListener("abort", stop);
      if (!durable) await consumer.delete().catch(() => false);
    }
  }

  async #handle(message: JsMsg, handle: (event: EventEnvelope) => Promise<void> | void): Promise<void> {
    try {
      await handle(message.json<EventEnvelope>());
      message.ack();
    } catch (error) {
      this.#options.log?.().warn({ err: error, subject: message.subject }, "event handler failed");
      message.nak(1000);
    }
  }

  #connect(): Promise<Link> {
    this.#link ??= this.#open().catch((error: unknown) => {
      this.#link = undefined;
      this.#tell(error instanceof Error ? error.message : String(error));
      throw error;
    });
    return this.#link;
  }

  /** Log why NATS cannot be reached, once for each reason in a row. */
  #tell(reason: string): void {
    if (reason === this.#reason || this.#stopping.signal.aborted) return;
    this.#reason = reason;
    this.#options.log?.().warn({ reason }, "NATS cannot be reached; events queue on disk");
  }

  async #open(): Promise<Link> {
    const { url, tokenFile, name } = this.#options;
    const connection = await connect({
      servers: url,
      name,
      reconnect: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RETRY_MS,
      pingInterval: 10_000,
      maxPingOut: 2,
      ...(tokenFile && {
        authenticator: tokenAuthenticator(() => tokenFor(url, tokenFile)),
        // A server whose process is known is the only one: a cluster's others would not be checked.
        ignoreClusterUpdates: serverPidFile(tokenFile) !== undefined,
      }),
    });
    if (this.#stopping.signal.aborted) {
      await connection.close();
      throw new Error("the event bus is closed");
    }
    this.#connection = connection;
    void this.#follow(connection);
    void connection.closed().then((error) => this.#ended(connection, error ?? undefined));
    await this.#join(connection);
    return { connection, js: connection.jetstream({ timeout: 5000 }) };
  }

  async #follow(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") {
        this.#connected = false;
        this.#options.log?.().warn("NATS is away; events queue on disk");
      }
      if (status.type === "reconnect") await this.#reconnected(connection);
    }
  }

  /** The library drops a connection when the token is withheld. The next use opens another. */
  #ended(connection: NatsConnection, error: Error | undefined): void {
    if (this.#connection !== connection) return;
    this.#connected = false;
    this.#link = undefined;
    if (error) this.#tell(error.message);
  }

  async #reconnected(connection: NatsConnection): Promise<void> {
    try {
      await this.#join(connection);
      this.#kick();
    } catch (error) {
      this.#options.log?.().warn({ err: error }, "NATS is back without JetStream");
    }
  }

  /** The stream may be missing: the server is new, or has lost its disk. */
  async #join(connection: NatsConnection): Promise<void> {
    const jsm = await connection.jetstreamManager();
    try {
      await jsm.streams.info(STREAM);
    } catch {
      await createStream(jsm);
    }
    this.#connected = true;
    this.#reason = "";
  }

  #kick(): void {
    this.#delivering ??= this.#deliverAll().finally(() => {
      this.#delivering = undefined;
      // What came between the last look and now has kicked in vain.
      if (!this.#isEmpty && !this.#stopping.signal.aborted) this.#kick();
    });
  }

  /** Send everything there is, in order, each event acknowledged before the next; try again until it is done. */
  async #deliverAll(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const { js } = await this.#connect();
        await this.#deliver(js);
        return;
      } catch (error) {
        this.#options.log?.().debug({ err: error, code: errorCode(error) }, "event not delivered yet");
        // A request that failed may have been in flight when the server went: what waits in memory goes to disk.
        for (const event of this.#memory.splice(0)) this.#spill(event);
        await pause(RETRY_MS, signal);
      }
    }
  }

  async #deliver(js: JetStreamClient): Promise<void> {
    for (;;) {
      if (!this.#queue.isEmpty) {
        // Younger than the file are only those that came before it was opened: none, see publish().
        const { events, bytes } = this.#queue.peek();
        for (const event of events) await send(js, event);
        this.#queue.drop(bytes);
        continue;
      }
      const event = this.#memory[0];
      if (!event) return;
      await send(js, event);
      this.#memory.shift();
    }
  }

  #spill(event: OutgoingEvent): void {
    try {
      if (!this.#queue.push(event))
        this.#options.log?.().error({ id: event.id }, "event queue is full: event lost");
    } catch (error) {
      this.#options.log?.().error({ err: error, id: event.id }, "event queue can't be written: event lost");
    }
  }
}

/** Read the token, once the connection is known to lead to the server. */
function tokenFor(url: string, tokenFile: string): string {
  const pidFile = serverPidFile(tokenFile);
  if (pidFile !== undefined) assertServerProcess(pidFile, parseNatsUrl(url));
  return fs.readFileSync(tokenFile, "utf8").trim();
}

async function send(js: JetStreamClient, { subject, id, payload }: OutgoingEvent): Promise<void> {
  await js.publish(subject, payload, { msgID: id });
}

/** As large as the server has room for. */
async function createStream({ streams }: JetStreamManager): Promise<void> {
  for (const maxBytes of STREAM_BYTES) {
    try {
      await streams.add(streamConfig(maxBytes) as Parameters<typeof streams.add>[0]);
      return;
    } catch (error) {
      const isLast = maxBytes === STREAM_BYTES.at(-1);
      if (isLast || !(error instanceof NatsError && error.api_error?.err_code === NO_ROOM)) throw error;
    }
  }
}

function isNoMessage(error: unknown): boolean {
  return error instanceof NatsError && error.api_error?.code === 404;
}

/** A durable consumer starts at a time only when it is made; after that its start may not be changed. */
async function existingStart(
  jsm: Awaited<ReturnType<NatsConnection["jetstreamManager"]>>,
  durable: string,
  since: Date,
): Promise<Partial<ConsumerConfig>> {
  try {
    const { config } = await jsm.consumers.info(STREAM, durable);
    return {
      deliver_policy: config.deliver_policy,
      ...(config.opt_start_time && { opt_start_time: config.opt_start_time }),
      ...(config.opt_start_seq && { opt_start_seq: config.opt_start_seq }),
    };
  } catch {
    return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: since.toISOString() };
  }
}

/** A consumer that the server forgot (restart, lost disk) sends no heartbeats: stop, to be made anew. */
async function watchHealth(
  messages: { status(): Promise<AsyncIterable<{ type: string; data: unknown }>> },
  stop: () => void,
): Promise<void> {
  for await (const { type, data } of await messages.status()) {
    const missed = type === "heartbeats_missed" && Number(data) >= 2;
    if (missed || type === "consumer_deleted" || type === "consumer_not_found" || type === "stream_not_found")
      stop();
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    if (signal.aborted) done();
  });
}
