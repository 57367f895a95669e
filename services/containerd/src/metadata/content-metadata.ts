import type { ContentStore } from "@longshore/content";
import { type Digest, isDigest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import { timestampNow, toRfc3339 } from "../timestamp.ts";
import { NamespacedWriter } from "./content-writer.ts";
import type { ContentRecord, Database, IngestRecord } from "./database.ts";
import { lookupIn, parseFilters } from "./filter.ts";
import { storedLabels, updatedLabels } from "./labels.ts";
import type { Scope } from "./scope.ts";

/** An ingest without a lease may be thrown away so long after its last writer came. */
const INGEST_LIFE_MS = 24 * 60 * 60 * 1000;

export interface ContentInfo extends ContentRecord {
  readonly digest: Digest;
}

export interface IngestInfo {
  readonly ref: string;
  readonly offset: number;
  readonly total: number;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}

export interface ContentWriterOptions {
  readonly ref: string;
  /** Size in bytes, 0 when unknown. */
  readonly total: number;
  readonly expected?: Digest;
}

/**
 * The content of a namespace: the blobs are shared by all, what a namespace sees and how it labels it is its own. A writer that
 * expects a blob which another namespace already has gets it without sending it again (containerd's policy "shared").
 */
export class ContentMetadata {
  private readonly database: Database;
  readonly backend: ContentStore;

  constructor(database: Database, backend: ContentStore) {
    this.database = database;
    this.backend = backend;
  }

  /** @throws EngineError `not_found` */
  async info({ namespace }: Scope, digest: Digest): Promise<ContentInfo> {
    const record = await this.database.content(namespace).get(digest);
    if (!record) throw new EngineError("not_found", `content digest ${digest}: not found`);
    return { digest, ...record };
  }

  async has({ namespace }: Scope, digest: Digest): Promise<boolean> {
    return (await this.database.content(namespace).get(digest)) !== undefined;
  }

  async list({ namespace }: Scope, filters: readonly string[]): Promise<ContentInfo[]> {
    const matches = parseFilters(filters);
    const records = await this.database.content(namespace).list();
    return records
      .map(({ key, value }) => ({ digest: key as Digest, ...value }))
      .filter(({ digest, labels }) =>
        matches(([field, ...rest]) => {
          if (field === "digest") return digest;
          return field === "labels" ? lookupIn(labels, rest) : undefined;
        }),
      );
  }

  /** Change labels. @param paths `labels`, `labels.<key>`; all labels when there is none */
  update(
    scope: Scope,
    digest: Digest,
    labels: Record<string, string>,
    paths: readonly string[],
  ): Promise<ContentInfo> {
    return this.database.write(async () => {
      const old = await this.info(scope, digest);
      const updated = updatedLabels(old.labels, labels, paths, (path) => {
        const what = `cannot update ${JSON.stringify(path)} field on content info`;
        throw new EngineError("invalid_argument", `${what} ${JSON.stringify(digest)}: invalid argument`);
      });
      const record: ContentRecord = {
        size: old.size,
        createdAt: old.createdAt,
        updatedAt: toRfc3339(timestampNow()),
        labels: storedLabels("info.Labels", updated),
      };
      const content = this.database.content(scope.namespace);
      await this.database.commit(scope.namespace, [content.put(digest, record)]);
      return { digest, ...record };
    });
  }

  /** Take a blob out of the namespace; its bytes go with the next garbage collection, unless others have it. */
  async delete(scope: Scope, digest: Digest): Promise<void> {
    const { database } = this;
    await database.write(async () => {
      await this.info(scope, digest);
      await database.commit(scope.namespace, [
        database.content(scope.namespace).delete(digest),
        ...database.unleaseChanges(scope, { type: "content", id: digest }),
      ]);
    });
    database.onDirty();
  }

  /**
   * Read a blob.
   *
   * @throws EngineError `not_found`, also when only another namespace has it
   */
  async *read(
    scope: Scope,
    digest: Digest,
    range?: { offset?: number; length?: number; chunkBytes?: number },
  ) {
    using _ = this.hold(scope, digest);
    await this.info(scope, digest);
    yield* this.backend.read(digest, range);
  }

  /** Keep a blob from garbage collection while it is used. */
  hold({ namespace }: Scope, digest: Digest): Disposable {
    return this.database.hold(namespace, digest);
  }

  /** @throws EngineError `not_found` */
  async status({ namespace }: Scope, ref: string): Promise<IngestInfo> {
    const record = await this.database.ingests(namespace).get(ref);
    if (!record) throw new EngineError("not_found", `reference ${ref}: not found`);
    return { ...this.backend.status(record.backendRef), ref };
  }

  async statuses({ namespace }: Scope, filters: readonly string[]): Promise<IngestInfo[]> {
    const matches = parseFilters(filters);
    const records = await this.database.ingests(namespace).list();
    const byBackendRef = new Map(this.backend.statuses().map((status) => [status.ref, status]));
    return records.flatMap(({ key: ref, value }) => {
      const status = byBackendRef.get(value.backendRef);
      if (!status || !matches(([field]) => (field === "ref" ? ref : undefined))) return [];
      return [{ ...status, ref }];
    });
  }

  /** Throw an ingest away. @throws EngineError `not_found` */
  abort(scope: Scope, ref: string): Promise<void> {
    const { database } = this;
    return database.write(async () => {
      const ingests = database.ingests(scope.namespace);
      const record = await ingests.get(ref);
      if (!record) throw new EngineError("not_found", `reference ${ref}: not found`);
      await database.commit(scope.namespace, [
        ingests.delete(ref),
        ...database.unleaseChanges(scope, { type: "ingests", id: ref }),
      ]);
      await this.backend.abort(record.backendRef);
    });
  }

  /**
   * Start or resume an ingest.
   *
   * @throws EngineError `already_exists` when the namespace has the expected blob, which is put under the lease then; `unavailable` while
   *   another call writes to the ref
   */
  async writer(scope: Scope, { ref, total, expected }: ContentWriterOptions): Promise<NamespacedWriter> {
    const { database, backend } = this;
    if (ref === "") throw new EngineError("invalid_argument", "ref must not be empty: invalid argument");
    const { namespace } = scope;
    const record = await database.write(async () => {
      if (expected !== undefined && (await this.has(scope, expected))) {
        const changes = await database.leaseChanges(scope, { type: "content", id: expected });
        await database.commit(namespace, changes);
        throw new EngineError("already_exists", `content ${expected}: already exists`);
      }
      const ingest = await this.ingestRecord(scope, ref, total, expected);
      await database.commit(namespace, [
        database.ingests(namespace).put(ref, ingest),
        ...(await database.leaseChanges(scope, { type: "ingests", id: ref })),
      ]);
      return ingest;
    });
    const adopted = record.expected !== undefined && isDigest(record.expected) ? record.expected : undefined;
    const options = { database, backend, scope, ref, backendRef: record.backendRef };
    if (adopted) return new NamespacedWriter(options, { digest: adopted, size: backend.size(adopted) ?? 0 });
    return new NamespacedWriter(options, await backend.writer({ ref: record.backendRef, total }));
  }

  /**
   * Start an ingest whose bytes another process writes; a later `writer` of the ref finds them.
   *
   * @returns the file to write to, empty
   */
  async emptyIngest(scope: Scope, ref: string): Promise<string> {
    const writer = await this.writer(scope, { ref, total: 0 });
    try {
      await writer.truncate();
    } finally {
      await writer.close();
    }
    const record = await this.database.ingests(scope.namespace).get(ref);
    return this.backend.ingestFile(record?.backendRef ?? "");
  }

  private async ingestRecord(
    { namespace, lease }: Scope,
    ref: string,
    total: number,
    expected: Digest | undefined,
  ): Promise<IngestRecord> {
    const found = await this.database.ingests(namespace).get(ref);
    const record: IngestRecord = { backendRef: found?.backendRef ?? `${namespace}/1/${ref}` };
    const size = expected === undefined ? undefined : this.backend.size(expected);
    const adopt = size !== undefined && (total === 0 || total === size);
    if (adopt && expected !== undefined) record.expected = expected;
    if (lease === undefined) record.expireAt = new Date(Date.now() + INGEST_LIFE_MS).toISOString();
    return record;
  }
}
