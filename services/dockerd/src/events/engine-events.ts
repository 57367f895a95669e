import type { Change, Store } from "@longshore/store";

/** Something that happened, as `/events` shows it. */
export interface EngineEvent {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: "local";
  /** Seconds and nanoseconds since 1970; the latter as text, since it has more digits than a number keeps. */
  time: number;
  timeNano: bigint;
}

/** An event that is told once what it tells of is on disk, and the event with it. */
export interface PreparedEvent {
  /** To be made in the commit that makes it true. */
  changes: Change[];
  tell(): void;
}

const HISTORY = 256;
const BUCKET = "events";

type Listener = (event: EngineEvent) => void;

/**
 * What happens in the engine, told to whoever listens. The last 256 events are kept, also from one daemon to the next: who listens again
 * after an interruption gets what it missed.
 */
export class EngineEvents {
  private history: EngineEvent[] = [];
  private readonly listeners = new Set<Listener>();
  private readonly store: Store;
  private readonly onTrouble: (error: unknown) => void;
  private last = 0n;
  /** How many there were since the daemon's start. */
  total = 0;

  /** @param onTrouble told of an event that could not be kept */
  constructor(store: Store, onTrouble: (error: unknown) => void) {
    this.store = store;
    this.onTrouble = onTrouble;
  }

  get listenerCount(): number {
    return this.listeners.size;
  }

  /** Read what an earlier daemon kept. */
  async load(): Promise<void> {
    const kept = await this.store.list(BUCKET);
    this.history = kept.map(({ key, value }) => ({
      ...(JSON.parse(value) as EngineEvent),
      timeNano: BigInt(key),
    }));
    this.last = this.history.at(-1)?.timeNano ?? 0n;
  }

  emit(type: string, action: string, id: string, attributes: Record<string, string> = {}): void {
    const { changes, tell } = this.prepare(type, action, id, attributes);
    // It is of no use after a restart of the machine: whoever listened has ended with it.
    this.store.commit(changes, [], { outlive: "process", whenAway: "keep" }).catch(this.onTrouble);
    tell();
  }

  /** Tell of something to those who listen now; it isn't kept. */
  announce(type: string, action: string, id: string, attributes: Record<string, string> = {}): void {
    const event = this.make(type, action, id, attributes);
    for (const listener of this.listeners) listener(event);
  }

  private make(type: string, action: string, id: string, attributes: Record<string, string>): EngineEvent {
    const now = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
    // No two have the same time: it is the place from which a listener goes on.
    const timeNano = now > this.last ? now : this.last + 1n;
    this.last = timeNano;
    this.total += 1;
    return {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: Number(timeNano / 1_000_000_000n),
      timeNano,
    };
  }

  /** Make an event, to be told later. */
  prepare(type: string, action: string, id: string, attributes: Record<string, string> = {}): PreparedEvent {
    const event = this.make(type, action, id, attributes);
    const oldest = this.history[this.history.length - HISTORY];
    return {
      changes: [
        { op: "put", bucket: BUCKET, key: keyOf(event), value: JSON.stringify({ ...event, timeNano: 0 }) },
        ...(oldest ? [{ op: "delete", bucket: BUCKET, key: keyOf(oldest) } as const] : []),
      ],
      tell: () => {
        this.history.push(event);
        if (this.history.length > HISTORY) this.history.shift();
        for (const listener of this.listeners) listener(event);
      },
    };
  }

  /** Past events from `sinceNano` on, oldest first. */
  since(sinceNano: bigint): EngineEvent[] {
    return this.history.filter(({ timeNano }) => timeNano >= sinceNano);
  }

  /** @returns a function that ends it */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** In the order of time. */
function keyOf({ timeNano }: EngineEvent): string {
  return String(timeNano).padStart(20, "0");
}
