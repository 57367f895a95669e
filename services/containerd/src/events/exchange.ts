import type { EventMessage } from "../plugin.ts";
import { timestampNow } from "../timestamp.ts";
import { type Envelope, validateEnvelope } from "./envelope.ts";
import { Subscription } from "./subscription.ts";

export interface ForwardOptions {
  /** The sender has told NATS itself. */
  onNats?: boolean;
  /**
   * It happened while nobody could listen (the daemon was down): whoever subscribes within the replay time is told as well.
   */
  replay?: boolean;
}

export type Listener = (envelope: Envelope, options: Readonly<ForwardOptions>) => void;

/** Clients find a daemon that came back within this. */
const REPLAY_MS = 60_000;

/** Where all events of the daemon meet: from its services, from clients and from shims; to subscribers and to NATS. */
export class Exchange {
  readonly #listeners = new Set<Listener>();
  #replay: Envelope[] = [];

  /** Publish an event of this daemon's own, happening now. */
  publish(namespace: string, topic: string, event: EventMessage, options: ForwardOptions = {}): void {
    const { typeUrl, value } = event;
    this.forward(
      { timestamp: timestampNow(), namespace, topic, event: { typeUrl, value: Buffer.from(value) } },
      options,
    );
  }

  /**
   * Pass on what someone else has published.
   * @throws EngineError `invalid_argument` for an envelope without time, or with a name that can't be one
   */
  forward(envelope: Envelope, options: ForwardOptions = {}): void {
    validateEnvelope(envelope);
    if (options.replay) this.#keepForReplay(envelope);
    for (const listener of this.#listeners) listener(envelope, options);
  }

  /** Call back for each event, at once and in order. The listener may not throw. */
  listen(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** A queue of the events that match, beginning with those kept for replay; its owner disposes of it or reads it to its end. */
  subscribe(matches: (envelope: Envelope) => boolean): Subscription {
    const subscription = new Subscription(() => this.#listeners.delete(listener));
    const listener: Listener = (envelope) => {
      if (matches(envelope)) subscription.push(envelope);
    };
    for (const envelope of this.#replay) listener(envelope, {});
    this.#listeners.add(listener);
    return subscription;
  }

  #keepForReplay(envelope: Envelope): void {
    this.#replay.push(envelope);
    const timer = setTimeout(() => {
      this.#replay = this.#replay.filter((kept) => kept !== envelope);
    }, REPLAY_MS);
    timer.unref();
  }
}
