import { EngineError } from "@longshore/errors";
import { type Collection, collection, type Store } from "@longshore/store";
import { validateIdentifier } from "../identifier.ts";
import { validateLabels } from "../labels.ts";

interface NamespaceRecord {
  labels: Record<string, string>;
}

/** Where the store keeps a namespace's objects, and how an error names them. */
const CONTENTS: ReadonlyArray<{
  what: string;
  at: (namespace: string) => [bucket: string, prefix?: string];
}> = [
  { what: "images", at: (namespace) => [`images/${namespace}`] },
  { what: "blobs", at: (namespace) => [`content/${namespace}`] },
  { what: "containers", at: (namespace) => [`containers/${namespace}`] },
  ...["overlayfs", "native"].map((snapshotter) => ({
    what: `snapshots on ${JSON.stringify(snapshotter)} snapshotter`,
    at: (namespace: string): [string, string] => [`snapshots/${snapshotter}`, `${namespace}/`],
  })),
];

/**
 * Namespaces are made by name or by the first object put into them, and stay until they are deleted.
 */
export class NamespaceStore {
  readonly #store: Store;
  readonly #records: Collection<NamespaceRecord>;

  constructor(store: Store) {
    this.#store = store;
    this.#records = collection<NamespaceRecord>(store, "namespaces");
  }

  /** Empty for a namespace that does not exist, as containerd has it. */
  async labels(name: string): Promise<Record<string, string>> {
    return (await this.#records.get(name))?.labels ?? {};
  }

  async list(): Promise<Array<{ name: string; labels: Record<string, string> }>> {
    const records = await this.#records.list();
    return records.map(({ key, value }) => ({ name: key, labels: value.labels }));
  }

  /** @throws EngineError `already_exists`, `invalid_argument` */
  async create(name: string, labels: Record<string, string>): Promise<void> {
    validateIdentifier(name);
    validateLabels("namespace.Labels", labels);
    try {
      await this.#store.commit([this.#records.put(name, { labels })], [this.#records.absent(name)]);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "already_exists") throw error;
      throw new EngineError("already_exists", `namespace ${JSON.stringify(name)}: already exists`);
    }
  }

  /** Make it if it isn't there: something is being put into it. */
  async ensure(name: string): Promise<void> {
    if (await this.#records.get(name)) return;
    try {
      await this.create(name, {});
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "already_exists") throw error;
    }
  }

  /** A label set to the empty string is removed. Setting labels makes the namespace. */
  async setLabels(name: string, labels: Record<string, string>): Promise<void> {
    validateIdentifier(name);
    validateLabels("namespace.Labels", labels);
    const kept = Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
    await this.#store.commit([this.#records.put(name, { labels: kept })]);
  }

  /** @throws EngineError `not_found`, `failed_precondition` while something is in it */
  async delete(name: string): Promise<void> {
    const left: string[] = [];
    for (const { what, at } of CONTENTS) {
      if ((await this.#store.list(...at(name))).length > 0) left.push(what);
    }
    if (left.length > 0) {
      const what = `namespace ${JSON.stringify(name)} must be empty, but it still has ${left.join(", ")}`;
      throw new EngineError("failed_precondition", `${what}: failed precondition`);
    }
    try {
      await this.#store.commit([this.#records.delete(name)], [this.#records.present(name)]);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "not_found") throw error;
      throw new EngineError("not_found", `namespace ${JSON.stringify(name)}: not found`);
    }
  }
}
