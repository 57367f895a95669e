import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { type Collection, collection, Mutex, type Store } from "@longshore/store";
import { diskUsage } from "./disk-usage.ts";
import type {
  SnapshotInfo,
  SnapshotKind,
  SnapshotMount,
  SnapshotOptions,
  Snapshotter,
  SnapshotUsage,
} from "./snapshotter.ts";

/** A snapshot in the store. Times are RFC 3339. */
interface SnapshotRecord {
  /** Names its directory, `snapshots/<id>`; never used twice. */
  id: number;
  kind: SnapshotKind;
  parent: string;
  createdAt: string;
  updatedAt: string;
  labels: Record<string, string>;
  /** Of a committed snapshot. */
  usage?: SnapshotUsage;
}

export interface SnapshotterOptions {
  /** Directory of the snapshots, made when missing: `snapshots/<id>` below it. */
  root: string;
  /** Records are in bucket `snapshots/<name of the snapshotter>`, key = name. */
  store: Store;
}

/** A snapshot as its files are concerned. */
export interface Place {
  readonly kind: SnapshotKind;
  /** Its own directory, empty but for what `Layout.make` put there. */
  readonly directory: string;
}

/** What makes one snapshotter different from another: how a snapshot's files lie in its directory. */
export interface Layout {
  /** Fill the directory of a new snapshot. @param parent the directory of what it stands on */
  make(place: Place, parent: string | undefined): Promise<void> | void;
  /** A snapshot that stood on nothing is committed upon a parent. */
  rebase?(directory: string, parent: string): void;
  /** @param ancestors the directories of what it stands on, nearest first */
  mounts(place: Place, ancestors: readonly string[]): SnapshotMount[];
  /** The directory that `usage` is about. */
  contents(directory: string): string;
}

/**
 * Snapshots that are numbered directories, with records in the store. Making one may take its time: its name is taken and its parent
 * held meanwhile, and other snapshots go on.
 */
export class DirectorySnapshotter implements Snapshotter {
  readonly name: string;
  private readonly layout: Layout;
  private readonly root: string;
  private readonly store: Store;
  private readonly records: Collection<SnapshotRecord>;
  private readonly mutex = new Mutex();
  /** All records: one process owns the directory, so that memory and store agree. */
  private readonly snapshots = new Map<string, SnapshotRecord>();
  private readonly children = new Map<string, number>();
  /** Numbers of those that are being made, by name. */
  private readonly pending = new Map<string, number>();
  private readonly removals = new Set<Promise<void>>();
  private lastId = 0;

  protected constructor(name: string, layout: Layout, { root, store }: SnapshotterOptions) {
    this.name = name;
    this.layout = layout;
    this.root = path.join(root, "snapshots");
    this.store = store;
    this.records = collection(store, `snapshots/${name}`);
  }

  prepare(key: string, parent: string, options: SnapshotOptions = {}): Promise<SnapshotMount[]> {
    return this.create("active", key, parent, options);
  }

  view(key: string, parent: string, options: SnapshotOptions = {}): Promise<SnapshotMount[]> {
    return this.create("view", key, parent, options);
  }

  async commit(
    name: string,
    key: string,
    options: SnapshotOptions & { parent?: string } = {},
  ): Promise<void> {
    this.requireCommittable(name, key, options.parent);
    // The long part, outside of the lock.
    const usage = await diskUsage(this.contentsOf(this.require(key)));
    await this.mutex.run(async () => {
      const { id, parent } = this.requireCommittable(name, key, options.parent);
      const below = this.require(key).parent === "" && parent !== "" ? this.require(parent) : undefined;
      if (below) this.layout.rebase?.(this.directoryOf(id), this.directoryOf(below.id));
      const now = new Date().toISOString();
      const labels = { ...options.labels };
      const record: SnapshotRecord = {
        id,
        kind: "committed",
        parent,
        createdAt: now,
        updatedAt: now,
        labels,
        usage,
      };
      await this.store.commit([
        this.records.delete(key),
        this.records.put(name, record),
        ...(options.also ?? []),
      ]);
      this.forget(key);
      this.remember(name, record);
    });
  }

  async mounts(key: string): Promise<SnapshotMount[]> {
    const record = this.require(key);
    if (record.kind === "committed") {
      throw new EngineError(
        "failed_precondition",
        `requested snapshot ${key} not active or view: failed precondition`,
      );
    }
    return this.mountsOf(record);
  }

  remove(key: string, options: Pick<SnapshotOptions, "also"> = {}): Promise<void> {
    return this.mutex.run(async () => {
      const record = this.require(key);
      if (this.children.has(key)) {
        throw new EngineError(
          "failed_precondition",
          "cannot remove snapshot with child: failed precondition",
        );
      }
      await this.store.commit([this.records.delete(key), ...(options.also ?? [])]);
      this.forget(key);
      void this.removeDirectory(String(record.id));
    });
  }

  async stat(key: string): Promise<SnapshotInfo> {
    return infoOf(key, this.require(key));
  }

  setLabels(key: string, labels: Readonly<Record<string, string>>): Promise<SnapshotInfo> {
    return this.mutex.run(async () => {
      const record = { ...this.require(key), labels: { ...labels }, updatedAt: new Date().toISOString() };
      await this.store.commit([this.records.put(key, record)]);
      this.snapshots.set(key, record);
      return infoOf(key, record);
    });
  }

  async list(prefix = ""): Promise<SnapshotInfo[]> {
    return [...this.snapshots]
      .filter(([name]) => name.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, record]) => infoOf(name, record));
  }

  async usage(key: string): Promise<SnapshotUsage> {
    const record = this.require(key);
    if (record.kind === "view") return { sizeBytes: 0, inodes: 0 };
    return record.usage ?? (await diskUsage(this.contentsOf(record)));
  }

  async cleanup(): Promise<void> {
    await this.mutex.run(async () => {
      const ids = [...[...this.snapshots.values()].map(({ id }) => id), ...this.pending.values()];
      const known = new Set(ids.map(String));
      for (const name of fs.readdirSync(this.root)) {
        if (!known.has(name)) void this.removeDirectory(name);
      }
    });
    await Promise.all(this.removals);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.removals);
  }

  protected async load(): Promise<void> {
    fs.mkdirSync(this.root, { recursive: true, mode: 0o700 });
    for (const { key, value } of await this.records.list()) this.remember(key, value);
    const directories = fs.readdirSync(this.root).map(Number).filter(Number.isSafeInteger);
    const ids = [...this.snapshots.values()].map(({ id }) => id);
    this.lastId = [...directories, ...ids].reduce((a, b) => Math.max(a, b), 0);
  }

  private async create(
    kind: SnapshotKind,
    key: string,
    parent: string,
    options: SnapshotOptions,
  ): Promise<SnapshotMount[]> {
    const { id, under } = await this.mutex.run(async () => this.reserve(key, parent));
    const directory = this.directoryOf(id);
    try {
      fs.mkdirSync(directory, { mode: 0o700 });
      await this.layout.make({ kind, directory }, under && this.directoryOf(under.id));
      const now = new Date().toISOString();
      const labels = { ...options.labels };
      const record: SnapshotRecord = { id, kind, parent, createdAt: now, updatedAt: now, labels };
      await this.mutex.run(async () => {
        await this.store.commit([this.records.put(key, record), ...(options.also ?? [])]);
        this.remember(key, record);
      });
      return this.mountsOf(record);
    } catch (error) {
      void this.removeDirectory(String(id));
      throw error;
    } finally {
      this.pending.delete(key);
      if (parent) this.countChild(parent, -1);
    }
  }

  /** Take a name and a number, and hold the parent. */
  private reserve(key: string, parent: string): { id: number; under: SnapshotRecord | undefined } {
    this.requireAbsent(key);
    const under = parent === "" ? undefined : this.requireCommitted(parent);
    const id = ++this.lastId;
    this.pending.set(key, id);
    if (parent) this.countChild(parent, 1);
    return { id, under };
  }

  private mountsOf(record: SnapshotRecord): SnapshotMount[] {
    const ancestors = this.ancestors(record).map(({ id }) => this.directoryOf(id));
    return this.layout.mounts({ kind: record.kind, directory: this.directoryOf(record.id) }, ancestors);
  }

  /** What a snapshot stands on, nearest first. */
  private ancestors(record: SnapshotRecord): SnapshotRecord[] {
    const found: SnapshotRecord[] = [];
    for (let name = record.parent; name !== ""; ) {
      const parent = this.snapshots.get(name);
      if (!parent) throw new Error(`snapshot ${name} is a parent and does not exist`);
      found.push(parent);
      name = parent.parent;
    }
    return found;
  }

  private directoryOf(id: number): string {
    return path.join(this.root, String(id));
  }

  private contentsOf({ id }: SnapshotRecord): string {
    return this.layout.contents(this.directoryOf(id));
  }

  private removeDirectory(name: string): Promise<void> {
    const removal = fs.promises
      .rm(path.join(this.root, name), { recursive: true, force: true })
      // What can't be removed now (a mount in it) is what the next cleanup() finds.
      .catch(() => {})
      .finally(() => this.removals.delete(removal));
    this.removals.add(removal);
    return removal;
  }

  private require(key: string): SnapshotRecord {
    const record = this.snapshots.get(key);
    if (record) return record;
    throw new EngineError("not_found", `snapshot ${key} does not exist: not found`);
  }

  private requireCommitted(name: string): SnapshotRecord {
    const parent = this.snapshots.get(name);
    if (!parent) throw new EngineError("not_found", `parent snapshot ${name} does not exist: not found`);
    if (parent.kind === "committed") return parent;
    throw new EngineError(
      "invalid_argument",
      `parent ${quote(name)} is not committed snapshot: invalid argument`,
    );
  }

  /** The number and the parent of an active snapshot that may become `name`. */
  private requireCommittable(name: string, key: string, base = ""): { id: number; parent: string } {
    this.requireAbsent(name);
    const { id, kind, parent } = this.require(key);
    if (kind !== "active") {
      throw new EngineError(
        "failed_precondition",
        `snapshot ${quote(key)} is not active: failed precondition`,
      );
    }
    if (base && parent && base !== parent) {
      const what = `cannot change parent of active snapshot ${quote(key)} on commit`;
      throw new EngineError("invalid_argument", `${what}: invalid argument`);
    }
    if (base) this.requireCommitted(base);
    return { id, parent: parent || base };
  }

  private requireAbsent(key: string): void {
    if (!this.snapshots.has(key) && !this.pending.has(key)) return;
    throw new EngineError("already_exists", `snapshot ${quote(key)}: already exists`);
  }

  private remember(name: string, record: SnapshotRecord): void {
    this.snapshots.set(name, record);
    if (record.parent) this.countChild(record.parent, 1);
  }

  private forget(name: string): void {
    const record = this.snapshots.get(name);
    this.snapshots.delete(name);
    if (record?.parent) this.countChild(record.parent, -1);
  }

  private countChild(parent: string, change: 1 | -1): void {
    const count = (this.children.get(parent) ?? 0) + change;
    if (count > 0) this.children.set(parent, count);
    else this.children.delete(parent);
  }
}

const quote = (name: string) => JSON.stringify(name);

function infoOf(name: string, record: SnapshotRecord): SnapshotInfo {
  const { parent, kind, labels } = record;
  return {
    name,
    parent,
    kind,
    labels,
    createdAt: new Date(record.createdAt),
    updatedAt: new Date(record.updatedAt),
  };
}
