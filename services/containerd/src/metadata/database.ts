import { EngineError } from "@longshore/errors";
import { type Change, type Collection, collection, Mutex, type Store } from "@longshore/store";
import type { Labels } from "./labels.ts";
import type { Scope } from "./scope.ts";

/*
 * Buckets. Times are RFC 3339.
 *   namespaces                  name → Namespace (the runtime half's; here only made to exist)
 *   containers/<namespace>      id → at least ContainerReferences (the runtime half's; read by garbage collection)
 *   content/<namespace>         digest → ContentRecord
 *   ingests/<namespace>         ref → IngestRecord
 *   images/<namespace>          name → ImageRecord
 *   leases/<namespace>          id → LeaseRecord
 *   lease-resources/<namespace> `<lease, URI-encoded> <type> <id>` → {}
 *   snapshots/<snapshotter>     `<namespace>/<name>` → the snapshotter's record
 */

export interface ContentRecord {
  size: number;
  createdAt: string;
  updatedAt: string;
  labels: Labels;
}

export interface IngestRecord {
  /** The ref in the content store. */
  backendRef: string;
  /** A blob that another namespace has, and this ingest will only adopt. */
  expected?: string;
  /** When it may be thrown away; without it, its lease says. */
  expireAt?: string;
}

export interface ImageRecord {
  target: { mediaType: string; digest: string; size: number; annotations: Labels };
  createdAt: string;
  updatedAt: string;
  labels: Labels;
}

export interface LeaseRecord {
  createdAt: string;
  labels: Labels;
}

/** What garbage collection reads of a container. */
export interface ContainerReferences {
  snapshotter?: string;
  snapshotKey?: string;
  labels?: Labels;
}

/** A thing that a lease can hold. `type`: `content`, `ingests`, `images` or `snapshots/<snapshotter>`. */
export interface Resource {
  readonly type: string;
  readonly id: string;
}

/** containerd's records, by namespace. Whoever reads and then commits does so inside `write`. */
export class Database {
  readonly store: Store;
  private readonly mutex = new Mutex();
  private readonly holds = new Map<string, number>();
  /** Called after changes. `deleted`: references were removed, so that something may have become garbage. */
  onMutation: (deleted: boolean) => void = () => {};
  /** Called with labels that make something expire. */
  onExpiry: (labels: Labels) => void = () => {};

  constructor(store: Store) {
    this.store = store;
  }

  content = (namespace: string): Collection<ContentRecord> => this.bucket(`content/${namespace}`);
  ingests = (namespace: string): Collection<IngestRecord> => this.bucket(`ingests/${namespace}`);
  images = (namespace: string): Collection<ImageRecord> => this.bucket(`images/${namespace}`);
  leases = (namespace: string): Collection<LeaseRecord> => this.bucket(`leases/${namespace}`);
  leaseResources = (namespace: string): Collection<object> => this.bucket(`lease-resources/${namespace}`);
  containers = (namespace: string): Collection<ContainerReferences> => this.bucket(`containers/${namespace}`);

  /** All namespaces that ever held something. */
  async namespaces(): Promise<string[]> {
    return (await this.store.list("namespaces")).map(({ key }) => key);
  }

  /** Run one piece of work at a time; garbage collection is one of them. Wait for nothing slow in it. */
  write<T>(work: () => Promise<T>): Promise<T> {
    return this.mutex.run(work);
  }

  /** Commit, making the namespace exist as the original does with the first thing put into it. */
  async commit(namespace: string, changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    await this.store.commit([...(await this.namespaceChanges(namespace)), ...changes]);
    this.onMutation(false);
  }

  /** To be called after what may have made garbage. */
  onDirty(): void {
    this.onMutation(true);
  }

  /** Keep a blob from being collected for as long as it is used, whether or not anything refers to it. */
  hold(namespace: string, digest: string): Disposable {
    const key = `${namespace} ${digest}`;
    this.holds.set(key, (this.holds.get(key) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.holds.get(key) ?? 1) - 1;
        if (left > 0) this.holds.set(key, left);
        else this.holds.delete(key);
      },
    };
  }

  /** Digests of the blobs that are held. */
  held(namespace: string): string[] {
    return [...this.holds.keys()].flatMap((key) =>
      key.startsWith(`${namespace} `) ? [key.slice(namespace.length + 1)] : [],
    );
  }

  async ensureNamespace(namespace: string): Promise<void> {
    const changes = await this.namespaceChanges(namespace);
    if (changes.length > 0) await this.store.commit(changes);
  }

  private async namespaceChanges(namespace: string): Promise<Change[]> {
    if ((await this.store.get("namespaces", namespace)) !== undefined) return [];
    return [{ op: "put", bucket: "namespaces", key: namespace, value: '{"labels":{}}' }];
  }

  /**
   * The change that puts a resource under the call's lease; none without a lease.
   *
   * @throws EngineError `not_found` for a lease that is not there
   */
  async leaseChanges({ namespace, lease }: Scope, resource: Resource): Promise<Change[]> {
    if (lease === undefined) return [];
    if (!(await this.leases(namespace).get(lease))) {
      throw new EngineError("not_found", "lease does not exist: not found");
    }
    return [this.leaseResources(namespace).put(resourceKey(lease, resource), {})];
  }

  /** The change that takes a resource off the call's lease. */
  unleaseChanges({ namespace, lease }: Scope, resource: Resource): Change[] {
    return lease === undefined ? [] : [this.leaseResources(namespace).delete(resourceKey(lease, resource))];
  }

  private bucket<T>(name: string): Collection<T> {
    return collection<T>(this.store, name);
  }
}

export function resourceKey(lease: string, { type, id }: Resource): string {
  return `${encodeURIComponent(lease)} ${type} ${id}`;
}

/** The lease and the resource that a key of `lease-resources` is about. */
export function parseResourceKey(key: string): { lease: string } & Resource {
  const [lease = "", type = "", ...rest] = key.split(" ");
  return { lease: decodeURIComponent(lease), type, id: rest.join(" ") };
}
