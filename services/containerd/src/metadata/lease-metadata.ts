import { EngineError } from "@longshore/errors";
import { timestampNow, toRfc3339 } from "../timestamp.ts";
import { type Database, type LeaseRecord, parseResourceKey, type Resource, resourceKey } from "./database.ts";
import { lookupIn, parseFilters } from "./filter.ts";
import { storedLabels } from "./labels.ts";
import type { Scope } from "./scope.ts";

export interface Lease extends LeaseRecord {
  readonly id: string;
}

const PLAIN_TYPES: readonly string[] = ["content", "ingests", "images"];

/** Leases: what they list is not collected while they last (label `containerd.io/gc.expire`: until when). */
export class LeaseMetadata {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** @throws EngineError `already_exists`, `invalid_argument` */
  create({ namespace }: Scope, id: string, labels: Record<string, string>): Promise<Lease> {
    return this.database.write(async () => {
      if (id === "") throw new EngineError("invalid_argument", "lease id must be provided");
      const leases = this.database.leases(namespace);
      if (await leases.get(id)) {
        throw new EngineError("already_exists", `lease ${JSON.stringify(id)}: already exists`);
      }
      const record = { createdAt: toRfc3339(timestampNow()), labels: storedLabels("lease.Labels", labels) };
      await this.database.commit(namespace, [leases.put(id, record)]);
      if ("containerd.io/gc.expire" in record.labels) this.database.onExpiry(record.labels);
      return { id, ...record };
    });
  }

  /** @throws EngineError `not_found` */
  async delete({ namespace }: Scope, id: string): Promise<void> {
    const { database } = this;
    await database.write(async () => {
      await this.require(namespace, id);
      const resources = database.leaseResources(namespace);
      const held = await resources.list(`${encodeURIComponent(id)} `);
      await database.commit(namespace, [
        database.leases(namespace).delete(id),
        ...held.map(({ key }) => resources.delete(key)),
      ]);
    });
    database.onDirty();
  }

  async list({ namespace }: Scope, filters: readonly string[]): Promise<Lease[]> {
    const matches = parseFilters(filters);
    const records = await this.database.leases(namespace).list();
    return records
      .map(({ key, value }) => ({ id: key, ...value }))
      .filter(({ id, labels }) =>
        matches(([field, ...rest]) => {
          if (field === "id") return id;
          return field === "labels" ? lookupIn(labels, rest) : undefined;
        }),
      );
  }

  /** @throws EngineError `not_found`, `unimplemented` for a type that leases can't hold */
  addResource({ namespace }: Scope, id: string, resource: Resource): Promise<void> {
    return this.database.write(async () => {
      await this.require(namespace, id);
      validateResource(resource);
      const put = this.database.leaseResources(namespace).put(resourceKey(id, resource), {});
      await this.database.commit(namespace, [put]);
    });
  }

  async deleteResource({ namespace }: Scope, id: string, resource: Resource): Promise<void> {
    await this.database.write(async () => {
      await this.require(namespace, id);
      validateResource(resource);
      const remove = this.database.leaseResources(namespace).delete(resourceKey(id, resource));
      await this.database.commit(namespace, [remove]);
    });
    this.database.onDirty();
  }

  async listResources({ namespace }: Scope, id: string): Promise<Resource[]> {
    await this.require(namespace, id);
    const held = await this.database.leaseResources(namespace).list(`${encodeURIComponent(id)} `);
    return held.map(({ key }) => parseResourceKey(key)).map(({ type, id: of }) => ({ type, id: of }));
  }

  private async require(namespace: string, id: string): Promise<void> {
    if (await this.database.leases(namespace).get(id)) return;
    throw new EngineError("not_found", `lease ${JSON.stringify(id)}: not found`);
  }
}

function validateResource({ type }: Resource): void {
  if (type.startsWith("snapshots/") ? type.split("/").length === 2 : PLAIN_TYPES.includes(type)) return;
  const what = type.startsWith("snapshots")
    ? `invalid snapshot resource type ${type}`
    : `resource type ${type} not supported yet`;
  if (type.startsWith("snapshots")) throw new EngineError("invalid_argument", `${what}: invalid argument`);
  throw new EngineError("unimplemented", `${what}: not implemented`);
}
