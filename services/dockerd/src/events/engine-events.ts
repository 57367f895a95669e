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

const HISTORY = 256;

type Listener = (event: EngineEvent) => void;

/** What happens in the engine, told to whoever listens; the last 256 events are kept. */
export class EngineEvents {
  private readonly history: EngineEvent[] = [];
  private readonly listeners = new Set<Listener>();

  get listenerCount(): number {
    return this.listeners.size;
  }

  emit(type: string, action: string, id: string, attributes: Record<string, string> = {}): void {
    const timeNano = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
    const event: EngineEvent = {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: Number(timeNano / 1_000_000_000n),
      timeNano,
    };
    this.history.push(event);
    if (this.history.length > HISTORY) this.history.shift();
    for (const listener of this.listeners) listener(event);
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
