import os from "node:os";
import { type Collection, collection, type Store, scopedStore } from "@longshore/store";
import type { ContainerRecord } from "../containers/container.ts";
import { upgradeRecord } from "../containers/upgrade-record.ts";

/** An engine that has used the shared store. */
export interface EngineRecord {
  id: string;
  /** Its host's name. */
  name: string;
}

/** The engines that share a store, and what the others have written there of their containers. */
export class Fleet {
  private readonly whole: Store;
  private readonly id: string;
  private readonly engines: Collection<EngineRecord>;

  constructor(whole: Store, id: string) {
    this.whole = whole;
    this.id = id;
    this.engines = collection<EngineRecord>(whole, "engines");
  }

  /** Let the others know of this engine. */
  async join(): Promise<void> {
    await this.whole.commit([this.engines.put(this.id, { id: this.id, name: os.hostname() })]);
  }

  /**
   * The engines whose id or host's name is one of these; `*` means all.
   * @throws EngineError `unavailable`
   */
  async find(names: readonly string[]): Promise<EngineRecord[]> {
    const all = (await this.engines.list()).map(({ value }) => value);
    return all.filter(({ id, name }) => names.some((one) => one === "*" || one === name || one === id));
  }

  /** The containers of an engine as it last wrote them down. */
  async containers({ id }: EngineRecord): Promise<ContainerRecord[]> {
    const records = collection<ContainerRecord>(scopedStore(this.whole, id), "containers");
    return (await records.list()).map(({ value }) => upgradeRecord(value));
  }
}
