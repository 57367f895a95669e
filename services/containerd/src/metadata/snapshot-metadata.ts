import { EngineError } from "@longshore/errors";
import type { SnapshotInfo, SnapshotMount, Snapshotter, SnapshotUsage } from "@longshore/snapshots";
import type { Database } from "./database.ts";
import { lookupIn, parseFilters } from "./filter.ts";
import { type Labels, storedLabels, updatedLabels } from "./labels.ts";
import type { Scope } from "./scope.ts";

/** A snapshot that a client's unpacker looks for under another name: Prepare answers "already exists" for it. */
const TARGET_LABEL = "containerd.io/snapshot.ref";

interface CreateRequest {
  readonly key: string;
  readonly parent: string;
  readonly labels: Labels;
}

/** One snapshotter's snapshots by namespace: `<namespace>/<name>` in the snapshotter, put under the call's lease. */
export class SnapshotMetadata {
  private readonly database: Database;
  readonly snapshotter: Snapshotter;

  constructor(database: Database, snapshotter: Snapshotter) {
    this.database = database;
    this.snapshotter = snapshotter;
  }

  prepare(scope: Scope, request: CreateRequest): Promise<SnapshotMount[]> {
    return this.create(scope, request, "prepare");
  }

  view(scope: Scope, request: CreateRequest): Promise<SnapshotMount[]> {
    return this.create(scope, request, "view");
  }

  async commit(scope: Scope, { name, key, parent, labels }: CreateRequest & { name: string }): Promise<void> {
    if (name === "")
      throw new EngineError("invalid_argument", "snapshot name must not be empty: invalid argument");
    const stored = storedLabels("info.Labels", labels);
    const { database, snapshotter } = this;
    const changes = await database.leaseChanges(scope, this.resource(name));
    const also = [...changes, ...database.unleaseChanges(scope, this.resource(key))];
    const base = parent ? { parent: inner(scope, parent) } : {};
    // Not inside database.write: it walks the files. The snapshotter serialises its own records, and the lease keeps the key.
    await translate(scope, () =>
      snapshotter.commit(inner(scope, name), inner(scope, key), { labels: stored, also, ...base }),
    );
  }

  mounts(scope: Scope, key: string): Promise<SnapshotMount[]> {
    return translate(scope, () => this.snapshotter.mounts(inner(scope, key)));
  }

  async remove(scope: Scope, key: string): Promise<void> {
    const also = this.database.unleaseChanges(scope, this.resource(key));
    await this.database.write(() =>
      translate(scope, () => this.snapshotter.remove(inner(scope, key), { also })),
    );
    this.database.onDirty();
  }

  async stat(scope: Scope, key: string): Promise<SnapshotInfo> {
    const info = await translate(scope, () => this.snapshotter.stat(inner(scope, key)));
    return outer(scope, info);
  }

  /** Change labels. @param paths `labels`, `labels.<key>`; all labels when there is none */
  update(scope: Scope, key: string, labels: Labels, paths: readonly string[]): Promise<SnapshotInfo> {
    return this.database.write(async () => {
      const old = await this.stat(scope, key);
      const updated = updatedLabels(old.labels, labels, paths, (path) => {
        const what = `cannot update ${JSON.stringify(path)} field on snapshot ${JSON.stringify(key)}`;
        throw new EngineError("invalid_argument", `${what}: invalid argument`);
      });
      const stored = storedLabels("info.Labels", updated);
      return outer(scope, await this.snapshotter.setLabels(inner(scope, key), stored));
    });
  }

  async list(scope: Scope, filters: readonly string[]): Promise<SnapshotInfo[]> {
    const matches = parseFilters(filters);
    const all = await this.snapshotter.list(inner(scope, ""));
    return all.map((info) => outer(scope, info)).filter((info) => matches((path) => fieldOf(info, path)));
  }

  usage(scope: Scope, key: string): Promise<SnapshotUsage> {
    return translate(scope, () => this.snapshotter.usage(inner(scope, key)));
  }

  /** Not inside database.write, since it may copy files: the snapshotter holds the parent, and what is young is not garbage. */
  private async create(
    scope: Scope,
    { key, parent, labels }: CreateRequest,
    how: "prepare" | "view",
  ): Promise<SnapshotMount[]> {
    const { database, snapshotter } = this;
    if (key === "")
      throw new EngineError("invalid_argument", "snapshot key must not be empty: invalid argument");
    const stored = storedLabels("info.Labels", labels);
    const target = stored[TARGET_LABEL];
    if (target && (await this.exists(scope, target))) {
      await database.commit(scope.namespace, await database.leaseChanges(scope, this.resource(target)));
      throw new EngineError("already_exists", `target snapshot ${JSON.stringify(target)}: already exists`);
    }
    const also = await database.leaseChanges(scope, this.resource(key));
    await database.ensureNamespace(scope.namespace);
    try {
      const base = parent === "" ? "" : inner(scope, parent);
      return await translate(scope, () =>
        snapshotter[how](inner(scope, key), base, { labels: stored, also }),
      );
    } catch (error) {
      // Whoever finds it there counts on it as much as whoever made it.
      if (error instanceof EngineError && error.code === "already_exists") {
        await database.commit(scope.namespace, also);
      }
      throw error;
    }
  }

  private async exists(scope: Scope, name: string): Promise<boolean> {
    try {
      await this.snapshotter.stat(inner(scope, name));
      return true;
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "not_found") throw error;
      return false;
    }
  }

  private resource(id: string) {
    return { type: `snapshots/${this.snapshotter.name}`, id };
  }
}

const inner = ({ namespace }: Scope, name: string) => `${namespace}/${name}`;

function outer({ namespace }: Scope, info: SnapshotInfo): SnapshotInfo {
  const strip = (name: string) => name.slice(namespace.length + 1);
  return { ...info, name: strip(info.name), parent: strip(info.parent) };
}

/** The snapshotter's errors name its own keys; the client knows them without the namespace. */
async function translate<T>({ namespace }: Scope, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const message = error.message.replace(`${namespace}/`, "");
    throw new EngineError(error.code, message, { cause: error });
  }
}

function fieldOf(info: SnapshotInfo, [field, ...rest]: readonly string[]): string | undefined {
  switch (field) {
    case "kind":
      return info.kind;
    case "name":
      return info.name;
    case "parent":
      return info.parent;
    case "labels":
      return lookupIn(info.labels, rest);
    default:
      return undefined;
  }
}
