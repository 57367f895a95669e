import { DiskQueue } from "@longshore/events/disk-queue";
import { EventJournal, findMissing } from "@longshore/events/journal";
import { EventPublisher, hostName, type OutgoingEvent, outgoingEvent } from "@longshore/events/publisher";
import type { Logger } from "@longshore/log";
import { timestampNow } from "../timestamp.ts";
import { decodeEvent } from "./decode.ts";
import type { Envelope } from "./envelope.ts";
import type { ForwardOptions } from "./exchange.ts";

export interface NatsOutletOptions {
  url: string;
  tokenFile: string | undefined;
  /** Where the queue and the journal lie. */
  directory: string;
  log: Logger;
}

/** What waits for a NATS that is away. */
const QUEUE_LIMIT_BYTES = 64 << 20;
/** The newest ten thousand events or so. */
const JOURNAL_LIMIT_BYTES = 8 << 20;
/** Shims bring what they have first. */
const COMPARE_AFTER_MS = 1000;
const COMPARE_AGAIN_MS = 5000;
/** How long the daemon waits at its end for events to be delivered; the rest waits on disk. */
const FLUSH_MS = 500;

/**
 * Brings events to NATS. Each is in a journal before it is sent, also those that a shim has sent itself; whenever the server is another
 * process than before, and so may have lost what it had acknowledged, the stream is compared with the journal and gets what it lacks.
 */
export class NatsOutlet implements AsyncDisposable {
  readonly publisher: EventPublisher;
  readonly #options: NatsOutletOptions;
  readonly #host = hostName();
  readonly #journal: EventJournal;
  #timer: Timer | undefined;
  #comparing: Promise<void> | undefined;
  #ending = false;

  constructor(options: NatsOutletOptions) {
    this.#options = options;
    const { url, tokenFile, directory, log } = options;
    this.#journal = new EventJournal({
      directory,
      limitBytes: JOURNAL_LIMIT_BYTES,
      onTrouble: (error) => log.warn({ err: error }, "event journal"),
    });
    this.publisher = new EventPublisher({
      url,
      tokenFile,
      queueFile: `${directory}/queue.jsonl`,
      openQueue: (options) => new DiskQueue(options),
      queueLimitBytes: QUEUE_LIMIT_BYTES,
      idleMs: Number.POSITIVE_INFINITY,
      onTrouble: (error) => log.warn({ err: error }, "NATS"),
      onNewServer: () => this.#compareSoon(),
    });
  }

  /** Take an event from the exchange. */
  take({ namespace, topic, timestamp, event }: Envelope, { onNats, replay }: Readonly<ForwardOptions>): void {
    const message = decodeEvent(event);
    if (!message) {
      this.#options.log.debug({ topic, type: event?.typeUrl }, "not an event of containerd's, not for NATS");
      return;
    }
    const outgoing = outgoingEvent(topic, message, {
      host: this.#host,
      namespace,
      source: onNats ? "shim" : "containerd",
      time: timestamp ?? timestampNow(),
    });
    this.#journal.append(outgoing);
    if (onNats) return;
    // The stream may have it, from a shim that told NATS while no daemon was there.
    if (replay) this.#compareSoon();
    else this.publisher.publish(outgoing);
  }

  #compareSoon(afterMs = COMPARE_AFTER_MS): void {
    clearTimeout(this.#timer);
    if (this.#ending) return;
    this.#timer = setTimeout(() => {
      this.#comparing = (this.#comparing ?? Promise.resolve()).then(() => this.#compare());
    }, afterMs);
    this.#timer.unref();
  }

  async #compare(): Promise<void> {
    const { url, tokenFile, log } = this.#options;
    try {
      const missing: OutgoingEvent[] = await findMissing(this.#journal.read(), { url, tokenFile });
      for (const event of missing) this.publisher.publish(event);
      if (missing.length > 0) log.warn({ events: missing.length }, "the stream lacked events; sent again");
    } catch (error) {
      log.debug({ err: error }, "the stream could not be compared with the journal");
      this.#compareSoon(COMPARE_AGAIN_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#timer);
    await this.publisher.flush(FLUSH_MS);
    this.publisher.close();
    await this.#journal[Symbol.asyncDispose]();
  }
}
