import os from "node:os";
import { type NetworkFacts, storedNetworks } from "@longshore/network";
import { type Collection, collection, type Store, scopedStore } from "@longshore/store";
import type { ContainerRecord } from "../containers/container.ts";
import { upgradeRecord } from "../containers/upgrade-record.ts";
import type { VolumeRecord } from "../volumes/volumes.ts";
import { type ImageNameRecord, imageNames } from "./image-names.ts";

/** An engine that has used the shared store. */
export interface EngineRecord {
  id: string;
  /** Its host's name. */
  name: string;
}

/** Label by which something shows whose it is, where what several engines have is listed. */
export const ENGINE_LABEL = "longshore.engine";

/** Whether a filter `engine` means the engine of this host. */
export function isMeant(id: string, names: readonly string[]): boolean {
  return ["*", id, os.hostname()].some((name) => names.includes(name));
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
   * Whom a filter `engine` means: this engine, and others.
   * @param names hosts' names, engines' ids, `*`
   * @throws EngineError `unavailable`
   */
  async meant(names: readonly string[]): Promise<{ own: boolean; others: EngineRecord[] }> {
    const others = (await this.find(names)).filter(({ id }) => id !== this.id);
    return { own: isMeant(this.id, names), others };
  }

  /**
   * The engines whose id or host's name is one of these; `*` means all.
   * @throws EngineError `unavailable`
   */
  async find(names: readonly string[]): Promise<EngineRecord[]> {
    const all = (await this.engines.list()).map(({ value }) => value);
    return all.filter(({ id, name }) => names.some((one) => one === "*" || one === name || one === id));
  }

  /** An engine's image names as it last wrote them down. */
  async imageNames({ id }: EngineRecord): Promise<{ name: string; record: ImageNameRecord }[]> {
    const records = await imageNames(scopedStore(this.whole, id)).list();
    return records.map(({ key, value }) => ({ name: key, record: value }));
  }

  async networks({ id }: EngineRecord): Promise<NetworkFacts[]> {
    return storedNetworks(scopedStore(this.whole, id));
  }

  async volumes({ id }: EngineRecord): Promise<VolumeRecord[]> {
    const records = collection<VolumeRecord>(scopedStore(this.whole, id), "volumes");
    return (await records.list()).map(({ value }) => value);
  }

  /** The containers of an engine as it last wrote them down. */
  async containers({ id }: EngineRecord): Promise<ContainerRecord[]> {
    const records = collection<ContainerRecord>(scopedStore(this.whole, id), "containers");
    return (await records.list()).map(({ value }) => upgradeRecord(value));
  }
}
