import type { Container } from "@longshore/api/containerd/services/containers/v1/containers";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";
import { type Collection, collection, type Store } from "@longshore/store";
import { validateIdentifierOf } from "../identifier.ts";
import { validateLabels } from "../labels.ts";
import { fromRfc3339, timestampNow, toRfc3339 } from "../timestamp.ts";

/** A `google.protobuf.Any` as the store keeps it. */
interface StoredAny {
  typeUrl: string;
  base64: string;
}

/**
 * A container as the store keeps it, in bucket `containers/<namespace>` under its id. Garbage collection reads `snapshotter`,
 * `snapshotKey`, `image` and `labels`.
 */
interface ContainerRecord {
  labels: Record<string, string>;
  image: string;
  runtime: { name: string; options?: StoredAny | undefined };
  spec?: StoredAny | undefined;
  snapshotter: string;
  snapshotKey: string;
  /** RFC 3339 with nanoseconds, as `updatedAt`. */
  createdAt: string;
  updatedAt: string;
  extensions: Record<string, StoredAny>;
  sandbox: string;
}

/** What a full update may change. */
const MUTABLE = ["labels", "spec", "extensions", "image", "snapshotkey"] as const;

/** The containers' records, each in its namespace. */
export class ContainerStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @throws EngineError `not_found` */
  async get(namespace: string, id: string): Promise<Container> {
    const record = await this.#in(namespace).get(id);
    if (record) return fromRecord(id, record);
    throw new EngineError(
      "not_found",
      `container ${JSON.stringify(id)} in namespace ${JSON.stringify(namespace)}: not found`,
    );
  }

  async list(namespace: string): Promise<Container[]> {
    const records = await this.#in(namespace).list();
    return records.map(({ key, value }) => fromRecord(key, value));
  }

  /** @throws EngineError `already_exists`, `invalid_argument` */
  async create(namespace: string, container: Container): Promise<Container> {
    validateContainer(container, "create container failed validation");
    const now = timestampNow();
    const created: Container = { ...container, createdAt: now, updatedAt: now };
    const records = this.#in(namespace);
    try {
      await this.#store.commit(
        [records.put(container.id, toRecord(created))],
        [records.absent(container.id)],
      );
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "already_exists") throw error;
      throw new EngineError("already_exists", `container ${JSON.stringify(container.id)}: already exists`);
    }
    return created;
  }

  /**
   * Replace what the mask names, or with an empty mask all that may change.
   * @throws EngineError `not_found`, `invalid_argument` for what may not change
   */
  async update(namespace: string, container: Container, mask: readonly string[]): Promise<Container> {
    const before = await this.#in(namespace).get(container.id);
    if (!before) throw new EngineError("not_found", `container ${JSON.stringify(container.id)}: not found`);
    const current = fromRecord(container.id, before);
    if (mask.length === 0) refuseImmutable(current, container);
    const updated: Container = { ...applyMask(current, container, mask.length > 0 ? mask : MUTABLE) };
    validateContainer(updated, "update failed validation");
    updated.updatedAt = timestampNow();
    const records = this.#in(namespace);
    await this.#store.commit([records.put(container.id, toRecord(updated))], [records.present(container.id)]);
    return updated;
  }

  /** @throws EngineError `not_found` */
  async delete(namespace: string, id: string): Promise<void> {
    const records = this.#in(namespace);
    try {
      await this.#store.commit([records.delete(id)], [records.present(id)]);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "not_found") throw error;
      throw new EngineError("not_found", `container ${id}: not found`);
    }
  }

  #in(namespace: string): Collection<ContainerRecord> {
    return collection<ContainerRecord>(this.#store, `containers/${namespace}`);
  }
}

function applyMask(current: Container, wanted: Container, mask: readonly string[]): Container {
  const updated: Container = { ...current };
  for (const path of mask) {
    const label = path.startsWith("labels.") ? path.slice("labels.".length) : undefined;
    const extension = path.startsWith("extensions.") ? path.slice("extensions.".length) : undefined;
    if (label !== undefined) updated.labels = { ...updated.labels, [label]: wanted.labels[label] ?? "" };
    else if (extension !== undefined) {
      updated.extensions = withExtension(updated.extensions, extension, wanted.extensions[extension]);
    } else if (path === "labels") updated.labels = wanted.labels;
    else if (path === "spec") updated.spec = wanted.spec;
    else if (path === "extensions") updated.extensions = wanted.extensions;
    else if (path === "image") updated.image = wanted.image;
    else if (path === "snapshotkey") updated.snapshotKey = wanted.snapshotKey;
    else {
      const what = `cannot update ${JSON.stringify(path)} field on ${JSON.stringify(current.id)}`;
      throw new EngineError("invalid_argument", `${what}: invalid argument`);
    }
  }
  // A label set to nothing is a label removed.
  updated.labels = Object.fromEntries(Object.entries(updated.labels).filter(([, value]) => value !== ""));
  return updated;
}

function withExtension(
  extensions: Container["extensions"],
  name: string,
  value: Any | undefined,
): Container["extensions"] {
  const { [name]: _, ...others } = extensions;
  return value ? { ...others, [name]: value } : others;
}

function refuseImmutable(current: Container, wanted: Container): void {
  const refuse = (field: string): never => {
    throw new EngineError("invalid_argument", `container.${field} field is immutable: invalid argument`);
  };
  if (current.snapshotter !== wanted.snapshotter) refuse("Snapshotter");
  if (current.runtime?.name !== wanted.runtime?.name) refuse("Runtime.Name");
}

function validateContainer(container: Container, what: string): void {
  const refuse = (why: string): never => {
    throw new EngineError("invalid_argument", `${what}: ${why}: invalid argument`);
  };
  validateIdentifierOf(`${what}: container.ID`, container.id);
  if (Object.hasOwn(container.extensions, "")) refuse("container.Extension keys must not be zero-length");
  validateLabels(`${what}: containers.Labels`, container.labels);
  if (!container.runtime?.name) refuse("container.Runtime.Name must be set");
  if (!container.spec) refuse("container.Spec must be set");
  if (container.snapshotKey && !container.snapshotter) {
    refuse("container.Snapshotter must be set if container.SnapshotKey is set");
  }
}

function toRecord(container: Container): ContainerRecord {
  const { createdAt = timestampNow(), updatedAt = createdAt } = container;
  return {
    labels: container.labels,
    image: container.image,
    runtime: { name: container.runtime?.name ?? "", options: toStored(container.runtime?.options) },
    spec: toStored(container.spec),
    snapshotter: container.snapshotter,
    snapshotKey: container.snapshotKey,
    createdAt: toRfc3339(createdAt),
    updatedAt: toRfc3339(updatedAt),
    extensions: mapValues(container.extensions, (any) => ({
      typeUrl: any.typeUrl,
      base64: any.value.toString("base64"),
    })),
    sandbox: container.sandbox,
  };
}

function fromRecord(id: string, record: ContainerRecord): Container {
  return {
    id,
    labels: record.labels,
    image: record.image,
    runtime: { name: record.runtime.name, options: fromStored(record.runtime.options) },
    spec: fromStored(record.spec),
    snapshotter: record.snapshotter,
    snapshotKey: record.snapshotKey,
    createdAt: fromRfc3339(record.createdAt),
    updatedAt: fromRfc3339(record.updatedAt),
    extensions: mapValues(record.extensions, ({ typeUrl, base64 }) => ({
      typeUrl,
      value: Buffer.from(base64, "base64"),
    })),
    sandbox: record.sandbox,
  };
}

function toStored(any: Any | undefined): StoredAny | undefined {
  return any && { typeUrl: any.typeUrl, base64: any.value.toString("base64") };
}

function fromStored(any: StoredAny | undefined): Any | undefined {
  return any && { typeUrl: any.typeUrl, value: Buffer.from(any.base64, "base64") };
}

function mapValues<A, B>(map: Readonly<Record<string, A>>, convert: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, convert(value)]));
}
