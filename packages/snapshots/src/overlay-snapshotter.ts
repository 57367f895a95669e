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

export interface OverlayOptions {
  /** Directory of the snapshots, made when missing: `snapshots/<id>/{fs,work}` below it. */
  root: string;
  /** Records are in bucket `snapshots/overlayfs`, key = name. */
  store: Store;
}

/**
 * Snapshots as overlayfs layers: each has its own changes in `fs`; what it stands on are the `fs` directories of its ancestors.
 * The answers of `mounts` are those of containerd's own overlayfs snapshotter.
 */
export class OverlaySnapshotter implements Snapshotter {
  readonly name = "overlayfs";
  private readonly root: string;
  private readonly store: Store;
  private readonly records: Collection<SnapshotRecord>;
  private readonly mutex = new Mutex();
  /** All records: one process owns the directory, so that memory and store agree. */
  private readonly snapshots = new Map<string, SnapshotRecord>();
  private readonly children = new Map<string, number>();
  private readonly extraOptions: readonly string[];
  private readonly removals = new Set<Promise<void>>();
  private lastId = 0;

  private constructor({ root, store }: OverlayOptions) {
    this.root = path.join(root, "snapshots");
    this.store = store;
    this.records = collection(store, "snapshots/overlayfs");
    // With index=on, an upper directory that was used with other lower ones is refused.
    this.extraOptions = fs.existsSync("/sys/module/overlay/parameters/index") ? ["index=off"] : [];
  }

  static async open(options: OverlayOptions): Promise<OverlaySnapshotter> {
    const snapshotter = new OverlaySnapshotter(options);
    await snapshotter.load();
    return snapshotter;
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
    const usage = await diskUsage(this.upperPath(this.require(key).id));
    await this.mutex.run(async () => {
      const { id, parent } = this.requireCommittable(name, key, options.parent);
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
    return record.usage ?? (await diskUsage(this.upperPath(record.id)));
  }

  async cleanup(): Promise<void> {
    await this.mutex.run(async () => {
      const known = new Set([...this.snapshots.values()].map(({ id }) => String(id)));
      for (const name of fs.readdirSync(this.root)) {
        if (!known.has(name)) void this.removeDirectory(name);
      }
    });
    await Promise.all(this.removals);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.removals);
  }

  private async load(): Promise<void> {
    fs.mkdirSync(this.root, { recursive: true, mode: 0o700 });
    for (const { key, value } of await this.records.list()) this.remember(key, value);
    const directories = fs.readdirSync(this.root).map(Number).filter(Number.isSafeInteger);
    const ids = [...this.snapshots.values()].map(({ id }) => id);
    this.lastId = [...directories, ...ids].reduce((a, b) => Math.max(a, b), 0);
  }

  private create(
    kind: SnapshotKind,
    key: string,
    parent: string,
    options: SnapshotOptions,
  ): Promise<SnapshotMount[]> {
    return this.mutex.run(async () => {
      this.requireAbsent(key);
      const under = parent === "" ? undefined : this.requireCommitted(parent);
      const now = new Date().toISOString();
      const record: SnapshotRecord = {
        id: ++this.lastId,
        kind,
        parent,
        createdAt: now,
        updatedAt: now,
        labels: { ...options.labels },
      };
      try {
        this.makeDirectory(record, under);
        await this.store.commit([this.records.put(key, record), ...(options.also ?? [])]);
      } catch (error) {
        void this.removeDirectory(String(record.id));
        throw error;
      }
      this.remember(key, record);
      return this.mountsOf(record);
    });
  }

  private makeDirectory(record: SnapshotRecord, parent: SnapshotRecord | undefined): void {
    const dir = path.join(this.root, String(record.id));
    fs.mkdirSync(dir, { mode: 0o700 });
    const upper = path.join(dir, "fs");
    fs.mkdirSync(upper);
    fs.chmodSync(upper, 0o755);
    if (record.kind === "active") fs.mkdirSync(path.join(dir, "work"), { mode: 0o711 });
    if (!parent) return;
    // The root directory's owner is the topmost layer's.
    const { uid, gid } = fs.statSync(this.upperPath(parent.id));
    if (uid !== 0 || gid !== 0) fs.chownSync(upper, uid, gid);
  }

  private mountsOf(record: SnapshotRecord): SnapshotMount[] {
    const parents = this.ancestors(record).map(({ id }) => this.upperPath(id));
    const [first] = parents;
    if (first === undefined) {
      return [bindMount(this.upperPath(record.id), record.kind === "view" ? "ro" : "rw")];
    }
    if (record.kind === "view" && parents.length === 1) return [bindMount(first, "ro")];
    const dir = path.join(this.root, String(record.id));
    const writable = record.kind === "active" ? [`workdir=${dir}/work`, `upperdir=${dir}/fs`] : [];
    const options = [...writable, `lowerdir=${parents.join(":")}`, ...this.extraOptions];
    return [{ type: "overlay", source: "overlay", options }];
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

  private upperPath(id: number): string {
    return path.join(this.root, String(id), "fs");
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
    if (!this.snapshots.has(key)) return;
    throw new EngineError("already_exists", `snapshot ${quote(key)}: already exists`);
  }

  private remember(name: string, record: SnapshotRecord): void {
    this.snapshots.set(name, record);
    if (record.parent) this.children.set(record.parent, (this.children.get(record.parent) ?? 0) + 1);
  }

  private forget(name: string): void {
    const record = this.snapshots.get(name);
    this.snapshots.delete(name);
    if (!record?.parent) return;
    const left = (this.children.get(record.parent) ?? 1) - 1;
    if (left > 0) this.children.set(record.parent, left);
    else this.children.delete(record.parent);
  }
}

const quote = (name: string) => JSON.stringify(name);

function bindMount(source: string, mode: "ro" | "rw"): SnapshotMount {
  return { type: "bind", source, options: [mode, "rbind"] };
}

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
