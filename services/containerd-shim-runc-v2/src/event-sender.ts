import { EventsDefinition } from "@longshore/api/containerd/services/ttrpc/events/v1/events";
import {
  EventPublisher,
  hostName,
  now,
  type OutgoingEvent,
  outgoingEvent,
  TASK_TOPICS,
  type TaskTopic,
  type Timestamp,
} from "@longshore/events/publisher";
import { connectTtrpc, createTtrpcClient, type TtrpcConnection } from "@longshore/ttrpc";
import { diskQueue } from "./load.ts";
import { log } from "./log.ts";
import { stir } from "./rest.ts";

export interface EventSenderOptions {
  namespace: string;
  /** containerd's ttrpc socket; empty: none. */
  ttrpcAddress: string;
  natsUrl: string | undefined;
  natsTokenFile: string | undefined;
  /** Outside the bundle where containerd says so: it may be removed before NATS is back, and containerd sends what is left in it. */
  queueFile: string;
}

interface Queued {
  topic: TaskTopic;
  time: Timestamp;
  value: Buffer;
  /** Whether NATS took it or will: what waits in the queue file is sent in order, by us or by containerd after us. */
  published: boolean;
}

const FORWARD_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 10_000;
/** How many wait for a containerd that is away. Exits are never dropped. */
const MAX_QUEUED = 2048;
/** Hang up when nothing has happened for so long: most containers say nothing between their start and their end. */
const IDLE_MS = 1000;

/**
 * Tells what happens to the container, in order, to NATS and to containerd. Neither is waited for: what can't be delivered now
 * is when they are back.
 */
export class EventSender {
  readonly #options: EventSenderOptions;
  readonly #publisher: EventPublisher | undefined;
  readonly #queue: Queued[] = [];
  readonly #unpublished: OutgoingEvent[] = [];
  #host: string | undefined;
  #connection: TtrpcConnection | undefined;
  #forwarding: Promise<void> | undefined;
  #retryMs = FIRST_RETRY_MS;
  #wake: (() => void) | undefined;
  #idle: Timer | undefined;
  #turn: ReturnType<typeof setImmediate> | undefined;
  #closed = false;

  constructor(options: EventSenderOptions) {
    this.#options = options;
    if (options.natsUrl) {
      this.#publisher = new EventPublisher({
        url: options.natsUrl,
        tokenFile: options.natsTokenFile,
        queueFile: options.queueFile,
        openQueue(options) {
          const { DiskQueue } = diskQueue();
          return new DiskQueue(options);
        },
        onTrouble: (error) => log().warn({ err: error }, "NATS"),
      });
    }
  }

  /** Whether everything is told and nobody is connected. */
  get isAtRest(): boolean {
    const sends =
      this.#turn !== undefined || this.#forwarding !== undefined || this.#connection !== undefined;
    return !sends && this.#queue.length === 0 && (this.#publisher?.isAtRest ?? true);
  }

  /** An exit will be told in a moment. */
  expectExit(): void {
    this.#publisher?.expect();
  }

  send<T extends TaskTopic>(topic: T, event: ReturnType<(typeof TASK_TOPICS)[T]["message"]["decode"]>): void {
    const time = now();
    const { namespace } = this.#options;
    if (this.#publisher) {
      this.#host ??= hostName();
      const origin = { host: this.#host, namespace, source: "shim" as const, time };
      this.#unpublished.push(outgoingEvent(topic, event, origin));
    }
    // After the answer to the call that this came of: somebody waits for that.
    this.#turn ??= setImmediate(() => this.#deliver());
    if (this.#options.ttrpcAddress === "") return;
    const { message } = TASK_TOPICS[topic] as {
      message: { encode(message: unknown): { finish(): Uint8Array } };
    };
    const value = Buffer.from(message.encode(event).finish());
    if (this.#queue.length >= MAX_QUEUED && topic !== "/tasks/exit") return;
    this.#queue.push({ topic, time, value, published: this.#publisher !== undefined });
  }

  /** NATS first: what it takes to be on the way there is little, and containerd, once it has something to do, takes the processor. */
  #deliver(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    for (const event of this.#unpublished.splice(0)) this.#publisher?.publish(event);
    if (this.#queue.length > 0) {
      this.#forwarding ??= this.#forwardAll().finally(() => {
        this.#forwarding = undefined;
      });
    }
  }

  /** Deliver what can be delivered within a time, then hang up. */
  async close(timeoutMs: number): Promise<void> {
    this.#deliver();
    this.#wake?.();
    const deadline = Bun.sleep(timeoutMs);
    await Promise.race([this.#forwarding ?? Promise.resolve(), deadline]);
    await this.#publisher?.flush(timeoutMs);
    this.#closed = true;
    this.#wake?.();
    this.#hangUp();
    this.#publisher?.close();
  }

  async #forwardAll(): Promise<void> {
    clearTimeout(this.#idle);
    for (let event = this.#queue[0]; event && !this.#closed; event = this.#queue[0]) {
      try {
        await this.#forward(event);
        this.#queue.shift();
        this.#retryMs = FIRST_RETRY_MS;
      } catch (error) {
        this.#hangUp();
        if (this.#retryMs === FIRST_RETRY_MS) log().warn({ err: error }, "containerd takes no events");
        await this.#pause();
      }
    }
    this.#idle = setTimeout(() => this.#hangUp(), IDLE_MS);
    stir();
  }

  async #forward({ topic, time, value, published }: Queued): Promise<void> {
    if (!this.#connection || this.#connection.isClosed) {
      this.#connection = await connectTtrpc(this.#options.ttrpcAddress);
    }
    const events = createTtrpcClient(this.#connection, EventsDefinition, { timeoutMs: FORWARD_TIMEOUT_MS });
    const { namespace } = this.#options;
    const { typeUrl } = TASK_TOPICS[topic];
    await events.forward(
      { envelope: { timestamp: time, namespace, topic, event: { typeUrl, value } } },
      {
        metadata: {
          "containerd-namespace-ttrpc": namespace,
          // Without it containerd passes the event on to NATS.
          ...(published && { "longshore-published": "nats" }),
        },
      },
    );
  }

  #hangUp(): void {
    clearTimeout(this.#idle);
    this.#connection?.close();
    this.#connection = undefined;
  }

  #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    this.#wake = () => {
      clearTimeout(timer);
      resolve();
    };
    return promise;
  }
}
