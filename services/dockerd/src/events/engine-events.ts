import type { Change, Entry, Store } from "@longshore/store";

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

/** How many are kept, and how many of these in memory. */
const KEPT = 10_000;
const IN_MEMORY = 256;
const KEY_DIGITS = 20;
const BUCKET = "events";

type Listener = (event: EngineEvent) => void;

/**
 * What happens in the engine, told to whoever listens. The last 10,000 events are kept, also from one daemon to the next: who listens
 * again after an interruption gets what it missed.
 */
export class EngineEvents {
  private recent: EngineEvent[] = [];
  /** Of all that are kept, oldest first. */
  private times: bigint[] = [];
  private readonly listeners = new Set<Listener>();
  private readonly store: Store;
  private readonly onTrouble: (error: unknown) => void;
  private readonly limit: number;
  private last = 0n;
  /** How many there were since the daemon's start. */
  total = 0;

  /** @param onTrouble told of an event that could not be kept */
  constructor(store: Store, onTrouble: (error: unknown) => void, limit = KEPT) {
    this.store = store;
    this.onTrouble = onTrouble;
    this.limit = limit;
  }

  get listenerCount(): number {
    return this.listeners.size;
  }

  /** Read what an earlier daemon kept. */
  async load(): Promise<void> {
    const kept = await this.store.list(BUCKET);
    this.times = kept.map(({ key }) => BigInt(key));
    this.recent = kept.slice(-IN_MEMORY).map(readEvent);
    this.last = this.times.at(-1) ?? 0n;
  }

  /** When the oldest event was that is kept, if there were more before it. */
  get knownSince(): bigint | undefined {
    return this.times.length >= this.limit ? this.times[0] : undefined;
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
    this.times.push(event.timeNano);
    const dropped = this.times.splice(0, this.times.length - this.limit);
    const value = JSON.stringify({ ...event, timeNano: 0 });
    return {
      changes: [
        { op: "put", bucket: BUCKET, key: keyOf(event.timeNano), value },
        ...dropped.map((time) => ({ op: "delete", bucket: BUCKET, key: keyOf(time) }) as const),
      ],
      tell: () => {
        this.recent.push(event);
        if (this.recent.length > IN_MEMORY) this.recent.shift();
        for (const listener of this.listeners) listener(event);
      },
    };
  }

  /**
   * Events from `sinceNano` up to the time of this call, oldest first.
   *
   * @throws EngineError `unavailable` for those that are not in memory, while the store is away
   */
  async since(sinceNano: bigint): Promise<EngineEvent[]> {
    const recent = this.recent.filter(({ timeNano }) => timeNano >= sinceNano);
    const before = this.recent[0]?.timeNano;
    if (before === undefined || sinceNano >= before || (this.times[0] ?? before) >= before) return recent;
    const [from, to] = [keyOf(sinceNano), keyOf(before)];
    const older = await this.store.list(BUCKET, sharedStart(from, to));
    return [...older.filter(({ key }) => key >= from && key < to).map(readEvent), ...recent];
  }

  /** @returns a function that ends it */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** In the order of time. */
function keyOf(timeNano: bigint): string {
  return String(timeNano).padStart(KEY_DIGITS, "0");
}

function readEvent({ key, value }: Entry): EngineEvent {
  return { ...(JSON.parse(value) as EngineEvent), timeNano: BigInt(key) };
}

function sharedStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}
