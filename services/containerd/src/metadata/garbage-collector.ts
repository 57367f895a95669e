import type { ContentStore } from "@longshore/content";
import type { Logger } from "@longshore/log";
import type { SnapshotInfo, Snapshotter } from "@longshore/snapshots";
import type { Change } from "@longshore/store";
import type {
  ContainerReferences,
  ContentRecord,
  Database,
  ImageRecord,
  IngestRecord,
  LeaseRecord,
} from "./database.ts";
import { parseResourceKey, type Resource } from "./database.ts";
import { DEFAULT_GC_SCHEDULE, type GcSchedule, GcScheduler } from "./gc-scheduler.ts";
import type { Labels } from "./labels.ts";
import { type GcNode, labelOwners, labelReferences, nodeId, reachable } from "./reachability.ts";

const EXPIRE = "containerd.io/gc.expire";
const ROOT = "containerd.io/gc.root";
const FLAT = "containerd.io/gc.flat";

/**
 * A snapshot that somebody is just working on stays, even when he has neither a lease nor a label for it. The original would take it
 * away at any moment.
 */
const WORK_IN_PROGRESS_MS = 60_000;

/** Timers of node take no more than this; one that fires early finds nothing and is set again. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** After something has expired; others may expire with it. */
const EXPIRY_DELAY_MS = 500;

/** What a collection removed. */
export interface GcResult {
  readonly content: number;
  readonly snapshots: number;
  readonly images: number;
  readonly leases: number;
  readonly ingests: number;
  readonly blobs: number;
}

export interface GarbageCollectorOptions {
  readonly database: Database;
  /** None: there is no content here, and its records are left alone. */
  readonly backend: ContentStore | undefined;
  readonly snapshotters: ReadonlyMap<string, Snapshotter>;
  readonly log: Logger;
  readonly schedule?: Readonly<GcSchedule>;
  /** How long an active snapshot or a view stays that nothing refers to. */
  readonly workInProgressMs?: number;
  onImageDeleted(namespace: string, name: string): void;
  onSnapshotRemoved(namespace: string, snapshotter: string, key: string): void;
}

/** Everything one namespace has, as of one moment. */
interface NamespaceState {
  readonly namespace: string;
  readonly content: ReadonlyMap<string, ContentRecord>;
  readonly ingests: ReadonlyMap<string, IngestRecord>;
  readonly images: ReadonlyMap<string, ImageRecord>;
  readonly leases: ReadonlyMap<string, LeaseRecord>;
  readonly resources: ReadonlyArray<{ lease: string } & Resource>;
  readonly containers: ReadonlyMap<string, ContainerReferences>;
  /** What is just being used. */
  readonly held: readonly GcNode[];
  /** By `<snapshotter>/<name>`, parents likewise. */
  readonly snapshots: ReadonlyMap<string, SnapshotInfo>;
}

/**
 * Removes what nothing refers to: mark and sweep over all namespaces, in one piece with respect to every other change
 * (`Database.write`). Roots: images, containers, leases and what they list, unexpired ingests, whatever is labelled
 * `containerd.io/gc.root`. Edges: an image's target, a container's snapshot, a snapshot's parent, the labels `gc.ref.*` and `gc.bref.*`.
 *
 * @see containerd, `core/metadata/gc.go`
 */
export class GarbageCollector implements AsyncDisposable {
  private readonly options: GarbageCollectorOptions;
  private readonly scheduler: GcScheduler<GcResult>;
  private expiry: { timer: ReturnType<typeof setTimeout>; at: number } | undefined;
  private stopped = false;

  constructor(options: GarbageCollectorOptions) {
    this.options = options;
    const { database, log, schedule = DEFAULT_GC_SCHEDULE } = options;
    const collect = () => database.write(() => this.markAndSweep());
    this.scheduler = new GcScheduler({ schedule, log, collect });
    database.onMutation = (deleted) => this.scheduler.changed({ deleted });
    database.onExpiry = (labels) => this.scheduleExpiry(Date.parse(labels[EXPIRE] ?? ""));
  }

  /** Something was deleted elsewhere that may have held something. */
  schedule(): void {
    this.scheduler.changed({ deleted: true });
  }

  /** Collect now. */
  collect(): Promise<GcResult> {
    return this.scheduler.trigger();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    clearTimeout(this.expiry?.timer);
    await this.scheduler[Symbol.asyncDispose]();
  }

  private async markAndSweep(): Promise<GcResult> {
    const began = performance.now();
    const { database, log } = this.options;
    const now = Date.now();
    const states = await Promise.all((await database.namespaces()).map((namespace) => this.read(namespace)));
    const youngest = now - (this.options.workInProgressMs ?? WORK_IN_PROGRESS_MS);
    const marked = await mark(states, { now, youngest });
    const result = { content: 0, snapshots: 0, images: 0, leases: 0, ingests: 0, blobs: 0 };
    for (const state of states) await this.sweep(state, marked, result);
    result.blobs = await this.sweepBackend(states, marked);
    this.scheduleExpiry(nextExpiry(states, { now, youngest }));
    if (Object.values(result).some((n) => n > 0)) {
      log.debug({ ...result, durationMs: Math.round(performance.now() - began) }, "garbage collected");
    }
    return result;
  }

  private async read(namespace: string): Promise<NamespaceState> {
    const { database, snapshotters } = this.options;
    const map = async <T>(list: Promise<Array<{ key: string; value: T }>>) =>
      new Map((await list).map(({ key, value }) => [key, value]));
    const snapshots = new Map<string, SnapshotInfo>();
    for (const [name, snapshotter] of snapshotters) {
      const strip = (key: string) => `${name}/${key.slice(namespace.length + 1)}`;
      for (const info of await snapshotter.list(`${namespace}/`)) {
        const parent = info.parent && strip(info.parent);
        snapshots.set(strip(info.name), { ...info, name: strip(info.name), parent });
      }
    }
    const resources = await database.leaseResources(namespace).list();
    return {
      namespace,
      content: await map(database.content(namespace).list()),
      ingests: await map(database.ingests(namespace).list()),
      images: await map(database.images(namespace).list()),
      leases: await map(database.leases(namespace).list()),
      held: database.held(namespace).map((key) => ({ kind: "content", namespace, key, flat: true })),
      resources: resources.map(({ key }) => parseResourceKey(key)),
      containers: await map(database.containers(namespace).list()),
      snapshots,
    };
  }

  private async sweep(
    state: NamespaceState,
    marked: ReadonlySet<string>,
    result: { -readonly [K in keyof GcResult]: GcResult[K] },
  ): Promise<void> {
    const { database, backend, onImageDeleted } = this.options;
    const { namespace } = state;
    const dead = (kind: string, map: ReadonlyMap<string, unknown>) =>
      [...map.keys()].filter((key) => !marked.has(nodeId({ kind, namespace, key })));

    result.snapshots += await this.sweepSnapshots(state, dead("snapshot", state.snapshots));
    const content = backend ? dead("content", state.content) : [];
    const images = dead("image", state.images);
    const ingests = backend ? dead("ingest", state.ingests) : [];
    const leases = new Set(dead("lease", state.leases));
    const resources = state.resources.filter(({ lease }) => leases.has(lease) || !state.leases.has(lease));
    const resourceBucket = database.leaseResources(namespace);
    const changes: Change[] = [
      ...content.map((key) => database.content(namespace).delete(key)),
      ...images.map((key) => database.images(namespace).delete(key)),
      ...ingests.map((key) => database.ingests(namespace).delete(key)),
      ...[...leases].map((key) => database.leases(namespace).delete(key)),
      ...resources.map(({ lease, type, id }) =>
        resourceBucket.delete(`${encodeURIComponent(lease)} ${type} ${id}`),
      ),
    ];
    if (changes.length > 0) await database.store.commit(changes);
    for (const name of images) onImageDeleted(namespace, name);
    for (const ref of ingests) await backend?.abort(state.ingests.get(ref)?.backendRef ?? "");
    result.content += content.length;
    result.images += images.length;
    result.ingests += ingests.length;
    result.leases += leases.size;
  }

  /** Children before parents. One that can't go stays, with what it stands on, until the next time. */
  private async sweepSnapshots(state: NamespaceState, dead: readonly string[]): Promise<number> {
    const { snapshotters, onSnapshotRemoved, log } = this.options;
    const { namespace, snapshots } = state;
    const depth = (key: string): number => {
      let steps = 0;
      for (let at = snapshots.get(key); at?.parent; at = snapshots.get(at.parent)) steps++;
      return steps;
    };
    const ordered = dead.map((key) => ({ key, depth: depth(key) })).sort((a, b) => b.depth - a.depth);
    let removed = 0;
    for (const { key } of ordered) {
      const slash = key.indexOf("/");
      const [snapshotter, name] = [key.slice(0, slash), key.slice(slash + 1)];
      try {
        await snapshotters.get(snapshotter)?.remove(`${namespace}/${name}`);
        removed++;
        onSnapshotRemoved(namespace, snapshotter, name);
      } catch (error) {
        log.warn({ err: error, namespace, snapshotter, key: name }, "failed to remove snapshot");
      }
    }
    return removed;
  }

  /** Bytes that no namespace has any more, and ingests that none knows. */
  private async sweepBackend(
    states: readonly NamespaceState[],
    marked: ReadonlySet<string>,
  ): Promise<number> {
    const { backend } = this.options;
    if (!backend) return 0;
    const wanted = new Set<string>();
    const refs = new Set<string>();
    for (const { namespace, content, ingests } of states) {
      for (const key of content.keys()) {
        if (marked.has(nodeId({ kind: "content", namespace, key }))) wanted.add(key);
      }
      for (const [key, { backendRef, expected }] of ingests) {
        if (!marked.has(nodeId({ kind: "ingest", namespace, key }))) continue;
        refs.add(backendRef);
        if (expected !== undefined) wanted.add(expected);
      }
    }
    let removed = 0;
    for (const digest of backend.list()) {
      if (!wanted.has(digest) && (await backend.delete(digest))) removed++;
    }
    for (const { ref } of backend.statuses()) {
      if (!refs.has(ref)) await backend.abort(ref);
    }
    return removed;
  }

  private scheduleExpiry(at: number): void {
    if (this.stopped || !Number.isFinite(at)) return;
    if (this.expiry && this.expiry.at <= at && this.expiry.at > Date.now()) return;
    clearTimeout(this.expiry?.timer);
    const delay = Math.min(Math.max(at - Date.now(), 0) + EXPIRY_DELAY_MS, LONGEST_TIMER_MS);
    const timer = setTimeout(() => {
      this.expiry = undefined;
      this.scheduler.dueWithin(0);
    }, delay);
    timer.unref();
    this.expiry = { timer, at };
  }
}

/** Milliseconds since 1970: the present, and when work in progress may have begun. */
interface Times {
  readonly now: number;
  readonly youngest: number;
}

/** The ids of everything that stays. */
function mark(states: readonly NamespaceState[], times: Times): Promise<Set<string>> {
  const byNamespace = new Map(states.map((state) => [state.namespace, state]));
  const belongings = new Map<string, GcNode[]>();
  for (const state of states) {
    for (const [bearer, labels] of labelled(state)) {
      for (const owner of labelOwners(state.namespace, labels)) {
        const id = nodeId(owner);
        belongings.set(id, [...(belongings.get(id) ?? []), bearer]);
      }
    }
  }
  return reachable(
    states.flatMap((state) => rootsOf(state, times)),
    async (node) => {
      const state = byNamespace.get(node.namespace);
      return [...(belongings.get(nodeId(node)) ?? []), ...(state ? referencesOf(state, node) : [])];
    },
  );
}

function* labelled(state: NamespaceState): Generator<[GcNode, Labels]> {
  const { namespace } = state;
  for (const kind of ["content", "image", "container", "snapshot"] as const) {
    const map = {
      content: state.content,
      image: state.images,
      container: state.containers,
      snapshot: state.snapshots,
    }[kind];
    for (const [key, { labels = {} }] of map) yield [{ kind, namespace, key }, labels];
  }
}

function rootsOf(state: NamespaceState, { now, youngest }: Times): GcNode[] {
  const { namespace } = state;
  const roots: GcNode[] = [];
  const live = new Map([...state.leases].filter(([, { labels }]) => !isExpired(labels, now)));
  for (const key of live.keys()) roots.push({ kind: "lease", namespace, key });
  for (const { lease, type, id } of state.resources) {
    const labels = live.get(lease)?.labels;
    if (!labels) continue;
    const flat = FLAT in labels;
    if (type === "content") roots.push({ kind: "content", namespace, key: id, flat });
    else if (type === "images") roots.push({ kind: "image", namespace, key: id, flat });
    else if (type === "ingests") roots.push({ kind: "ingest", namespace, key: id });
    else roots.push({ kind: "snapshot", namespace, key: `${type.slice("snapshots/".length)}/${id}`, flat });
  }
  for (const [key, { labels }] of state.images) {
    if (!isExpired(labels, now)) roots.push({ kind: "image", namespace, key });
  }
  for (const [key, { expireAt }] of state.ingests) {
    if (expireAt !== undefined && Date.parse(expireAt) > now) roots.push({ kind: "ingest", namespace, key });
  }
  for (const key of state.containers.keys()) roots.push({ kind: "container", namespace, key });
  roots.push(...state.held);
  for (const [key, { kind, createdAt }] of state.snapshots) {
    if (kind !== "committed" && createdAt.getTime() > youngest)
      roots.push({ kind: "snapshot", namespace, key });
  }
  for (const kind of ["content", "snapshot"] as const) {
    for (const [key, { labels }] of kind === "content" ? state.content : state.snapshots) {
      const waiting = EXPIRE in labels && !isExpired(labels, now);
      if (ROOT in labels || waiting) roots.push({ kind, namespace, key });
    }
  }
  return roots;
}

function referencesOf(state: NamespaceState, { kind, namespace, key, flat = false }: GcNode): GcNode[] {
  const byLabels = (labels: Readonly<Labels> = {}) => (flat ? [] : labelReferences(namespace, labels));
  switch (kind) {
    case "content":
      return byLabels(state.content.get(key)?.labels);
    case "snapshot": {
      const snapshot = state.snapshots.get(key);
      const parent = snapshot?.parent ? [{ kind, namespace, key: snapshot.parent, flat }] : [];
      return [...parent, ...byLabels(snapshot?.labels)];
    }
    case "image": {
      const image = state.images.get(key);
      if (!image) return [];
      return [{ kind: "content", namespace, key: image.target.digest, flat }, ...byLabels(image.labels)];
    }
    case "ingest": {
      const expected = state.ingests.get(key)?.expected;
      return expected === undefined ? [] : [{ kind: "content", namespace, key: expected }];
    }
    case "container": {
      const container = state.containers.get(key);
      const { snapshotter = "", snapshotKey = "" } = container ?? {};
      const snapshot = snapshotter
        ? [{ kind: "snapshot", namespace, key: `${snapshotter}/${snapshotKey}` }]
        : [];
      return [...snapshot, ...byLabels(container?.labels)];
    }
    default:
      return [];
  }
}

/** A time that can't be read is no time: the object stays. */
function isExpired(labels: Readonly<Labels>, now: number): boolean {
  const at = Date.parse(labels[EXPIRE] ?? "");
  return Number.isFinite(at) && at < now;
}

function nextExpiry(states: readonly NamespaceState[], { now, youngest }: Times): number {
  const times = states.flatMap(({ leases, images, ingests, snapshots }) => [
    ...[...leases.values(), ...images.values()].map(({ labels }) => Date.parse(labels[EXPIRE] ?? "")),
    ...[...ingests.values()].map(({ expireAt = "" }) => Date.parse(expireAt)),
    ...[...snapshots.values()]
      .filter(({ kind }) => kind !== "committed")
      .map(({ createdAt }) => createdAt.getTime() + now - youngest),
  ]);
  return times.filter((time) => time > now).reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}
