import type { Logger } from "@longshore/log";
import type { Store } from "@longshore/store";
import { PortReservations, type ReserveOptions } from "./ports.ts";
import { networkRecords } from "./records.ts";
import type { PortBinding, PortRequest } from "./types.ts";

const NONE: readonly PortBinding[] = [];

/** What is published of which sandbox: held, and recorded before anyone is told, so that a daemon that comes after finds it. */
export class PublishedPorts implements Disposable {
  readonly #store: Store;
  readonly #records: ReturnType<typeof networkRecords>["ports"];
  readonly #reservations = new PortReservations();
  readonly #bySandbox = new Map<string, readonly PortBinding[]>();

  private constructor(store: Store) {
    this.#store = store;
    this.#records = networkRecords(store).ports;
  }

  static async load(store: Store, log: Logger): Promise<PublishedPorts> {
    const published = new PublishedPorts(store);
    for (const { key, value } of await published.#records.list()) {
      published.#bySandbox.set(key, value.bindings);
      for (const port of published.#reservations.restore(value.bindings))
        log.warn({ sandboxId: key, port }, "a published port is used by another program as well");
    }
    return published;
  }

  sandboxes(): string[] {
    return [...this.#bySandbox.keys()];
  }

  of(sandboxId: string): readonly PortBinding[] {
    return this.#bySandbox.get(sandboxId) ?? NONE;
  }

  /** @throws EngineError `internal` in Docker's words for a port that is taken; nothing is held then */
  async publish(
    sandboxId: string,
    requests: readonly PortRequest[],
    options: ReserveOptions,
  ): Promise<readonly PortBinding[]> {
    if (requests.length === 0) return NONE;
    const bindings = this.#reservations.reserve(requests, options);
    this.#bySandbox.set(sandboxId, bindings);
    try {
      await this.#store.commit([this.#records.put(sandboxId, { bindings })], [], { outlive: "process" });
    } catch (error) {
      this.#bySandbox.delete(sandboxId);
      this.#reservations.release(bindings);
      throw error;
    }
    return bindings;
  }

  /** None is no error. */
  async withdraw(sandboxId: string): Promise<void> {
    const bindings = this.#bySandbox.get(sandboxId);
    if (!bindings) return;
    this.#bySandbox.delete(sandboxId);
    this.#reservations.release(bindings);
    await this.#store.commit([this.#records.delete(sandboxId)], [], { outlive: "process", whenAway: "keep" });
  }

  [Symbol.dispose](): void {
    this.#reservations[Symbol.dispose]();
  }
}
