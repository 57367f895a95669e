import { exists } from "@longshore/syscalls";
import type { DiskQueue, DiskQueueOptions } from "./disk-queue.ts";
import type { OutgoingEvent } from "./envelope.ts";
import { NatsLink } from "./nats-link.ts";
import { type NatsAddress, parseNatsUrl } from "./nats-url.ts";

export {
  type EventEnvelope,
  type EventOrigin,
  eventSubject,
  hostName,
  type OutgoingEvent,
  outgoingEvent,
} from "./envelope.ts";
export { formatTime, now, parseTime, type Timestamp } from "./event-json.ts";
export { TASK_TOPICS, type TaskTopic } from "./task-topics.ts";

export interface PublisherOptions {
  /** `nats://host:port`. */
  url: string;
  /** Read at each connect. Where FILE.pid names the server's process, only that gets it. */
  tokenFile?: string | undefined;
  /** Where events wait while NATS is away. */
  queueFile: string;
  queueLimitBytes?: number;
  /** Makes that queue when NATS is first away: few processes ever need one. */
  openQueue: (options: DiskQueueOptions) => DiskQueue;
  /** Close the connection after so long without an event; infinite: stay connected, and connect again at once. */
  idleMs?: number;
  /**
   * Told when NATS goes away, and when the reason changes while it is away; of the first event
   * that finds no room, and how many did not in the end.
   */
  onTrouble?: (error: Error) => void;
  /** Connected, to a server that is not the one of before: what that had acknowledged, this one may not have. */
  onNewServer?: () => void;
}

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

/**
 * For so long after its acknowledgement an event is sent again should the server go: JetStream acknowledges before it writes. The stream
 * knows by their ids those that it kept.
 */
const RECENT_MS = 2000;

/**
 * Publishes to JetStream with nothing but a socket: for the shim, where the nats library would cost more memory than
 * everything else. One event at a time, in order, each acknowledged by the stream; connects for the first event and
 * hangs up when idle. While NATS is away events go to a file and are sent, in order, when it is back.
 */
export class EventPublisher {
  readonly #options: PublisherOptions;
  readonly #address: NatsAddress;
  readonly #waiting: OutgoingEvent[] = [];
  #queue: DiskQueue | undefined;
  #link: NatsLink | undefined;
  #retryMs = FIRST_RETRY_MS;
  #retry: Timer | undefined;
  #idle: Timer | undefined;
  #running: Promise<void> | undefined;
  #recent: { event: OutgoingEvent; at: number }[] = [];
  #serverId = "";
  #lost = 0;
  #closed = false;
  /** Why NATS is away; undefined while it is there. */
  #away: string | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#address = parseNatsUrl(options.url);
    // What an earlier process left.
    if (exists(options.queueFile) || this.#stays) this.#kick();
  }

  get #stays(): boolean {
    return this.#options.idleMs === Number.POSITIVE_INFINITY;
  }

  /** Whether all events so far were delivered or are on their way; false while NATS is away. */
  get isHealthy(): boolean {
    return this.#away === undefined;
  }

  /** Whether nothing waits to be delivered. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && !this.#running && (this.#queue?.isEmpty ?? true);
  }

  /** Whether it is idle, has hung up, and waits for nothing. */
  get isAtRest(): boolean {
    return this.isIdle && !this.#link && !this.#retry;
  }

  /** Hand an event over. Never fails and never waits. */
  publish(event: OutgoingEvent): void {
    if (this.#away !== undefined) {
      this.#spill(event);
      return;
    }
    this.#waiting.push(event);
    this.#kick();
  }

  /** An event will come in a moment: connect meanwhile. */
  expect(): void {
    if (!this.#link && this.#away === undefined) this.#kick();
  }

  /** Wait until everything was delivered, but not longer than this; true when it was. */
  async flush(timeoutMs: number): Promise<boolean> {
    const end = Date.now() + timeoutMs;
    this.#retryNow();
    while (!this.isIdle && Date.now() < end) {
      await Promise.race([this.#running ?? Bun.sleep(20), Bun.sleep(end - Date.now())]);
    }
    return this.isIdle;
  }

  /** Hang up. What was not delivered stays in the queue file. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#idle);
    this.#link?.close();
    for (const event of this.#waiting.splice(0)) this.#spill(event);
  }

  #retryNow(): void {
    if (!this.#retry) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#kick();
  }

  #kick(): void {
    if (this.#running || this.#retry || this.#closed) return;
    clearTimeout(this.#idle);
    this.#running = this.#deliverAll().then(
      () => this.#rest(),
      (error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))),
    );
  }

  /** First the file, which is older, then what waits in memory. */
  async #deliverAll(): Promise<void> {
    this.#link ??= await this.#connect();
    const link = this.#link;
    const queue = this.#queue ?? (exists(this.#options.queueFile) ? this.#openQueue() : undefined);
    while (queue && !this.#closed && !queue.isEmpty) {
      const { events, bytes } = queue.peek();
      for (const event of events) await link.publish(event);
      queue.drop(bytes);
    }
    if (this.#lost > 0) {
      const what = `${this.#lost} events found no room in ${this.#options.queueFile} while NATS was away`;
      this.#options.onTrouble?.(new Error(what));
      this.#lost = 0;
    }
    for (let event = this.#waiting[0]; event && !this.#closed; event = this.#waiting[0]) {
      await link.publish(event);
      this.#waiting.shift();
      this.#keep(event);
    }
    this.#away = undefined;
    this.#retryMs = FIRST_RETRY_MS;
  }

  async #connect(): Promise<NatsLink> {
    const link = await NatsLink.connect(this.#address, this.#options.tokenFile, (id) => {
      if (id === this.#serverId) return;
      this.#serverId = id;
      this.#options.onNewServer?.();
    });
    // Who has nothing to send yet wants to know all the same.
    if (this.#stays) await link.confirm();
    link.onBroken = (error) => {
      if (this.#link !== link || this.#running || this.#closed) return; // whoever waits for an answer hears of it
      const again = this.#takeRecent();
      this.#link = undefined;
      if (again.length === 0 && !this.#stays) return;
      this.#waiting.unshift(...again);
      this.#fail(error);
    };
    return link;
  }

  #keep(event: OutgoingEvent): void {
    const at = milliseconds();
    this.#recent = this.#recent.filter((kept) => at - kept.at < RECENT_MS);
    this.#recent.push({ event, at });
  }

  #takeRecent(): OutgoingEvent[] {
    const now = milliseconds();
    const recent = this.#recent.filter(({ at }) => now - at < RECENT_MS).map(({ event }) => event);
    this.#recent = [];
    return recent;
  }

  #rest(): void {
    this.#running = undefined;
    if (this.#closed) return;
    if (!this.isIdle) {
      this.#kick();
      return;
    }
    // It broke just when all was done.
    if (this.#link?.isOpen === false) {
      this.#link = undefined;
      this.#waiting.unshift(...this.#takeRecent());
      if (this.#waiting.length > 0 || this.#stays) this.#fail(new Error("NATS closed the connection"));
      return;
    }
    if (this.#stays) return;
    this.#idle = setTimeout(() => {
      this.#hangUp();
      this.#recent = [];
    }, this.#options.idleMs ?? 1000);
  }

  #hangUp(): void {
    const link = this.#link;
    this.#link = undefined;
    link?.close();
  }

  #fail(error: Error): void {
    this.#running = undefined;
    this.#hangUp();
    for (const event of [...this.#takeRecent(), ...this.#waiting.splice(0)]) this.#spill(event);
    if (this.#closed) return;
    if (error.message !== this.#away) this.#options.onTrouble?.(error);
    this.#away = error.message;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#kick();
    }, this.#retryMs);
    // Waiting for NATS does not keep a shim alive that has nothing else to do.
    this.#retry.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  #spill(event: OutgoingEvent): void {
    try {
      if (this.#openQueue().push(event)) return;
      this.#lost++;
      if (this.#lost > 1) return;
      const what = `${this.#options.queueFile} is full: events are dropped from now on until NATS is back`;
      this.#options.onTrouble?.(new Error(`${what}, first ${event.id}`));
    } catch (error) {
      // The bundle is gone or its disk full: the exit record and containerd's own copy must do.
      this.#options.onTrouble?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #openQueue(): DiskQueue {
    const { queueFile: path, queueLimitBytes: limitBytes = 1 << 20 } = this.#options;
    this.#queue ??= this.#options.openQueue({ path, limitBytes });
    return this.#queue;
  }
}

/** A clock that only goes forward. (`performance.now` brings a dozen classes with it, to each shim.) */
function milliseconds(): number {
  return Bun.nanoseconds() / 1e6;
}
