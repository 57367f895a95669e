import type { ContentStore, IngestWriter } from "@longshore/content";
import type { Digest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import { timestampNow, toRfc3339 } from "../timestamp.ts";
import type { Database } from "./database.ts";
import { storedLabels } from "./labels.ts";
import type { Scope } from "./scope.ts";

interface WriterContext {
  readonly database: Database;
  readonly backend: ContentStore;
  readonly scope: Scope;
  readonly ref: string;
  readonly backendRef: string;
}

/** A blob that another namespace has and this one will adopt without its bytes being sent. */
interface Adopted {
  readonly digest: Digest;
  readonly size: number;
}

/** Writes one blob into a namespace. */
export class NamespacedWriter {
  private readonly context: WriterContext;
  private readonly startedAt = new Date();
  private source: IngestWriter | Adopted;

  constructor(context: WriterContext, source: IngestWriter | Adopted) {
    this.context = context;
    this.source = source;
  }

  status(): { offset: number; total: number; startedAt: Date; updatedAt: Date } {
    if (isWriter(this.source)) return this.source.status();
    const { size } = this.source;
    return { offset: size, total: size, startedAt: this.startedAt, updatedAt: this.startedAt };
  }

  /** The digest of what was written so far. */
  digest(): Digest {
    return isWriter(this.source) ? this.source.digest() : this.source.digest;
  }

  /** Where the bytes are, for a client that writes them by itself; undefined when there is nothing to write. */
  file(): { path: string; inode: bigint } | undefined {
    return isWriter(this.source) ? this.source.file() : undefined;
  }

  /** Take note of what was written to the file. */
  async readFile(): Promise<void> {
    if (isWriter(this.source)) await this.source.readFile();
  }

  async truncate(): Promise<void> {
    (await this.ownWriter({ copy: false })).truncate();
  }

  async write(bytes: Uint8Array): Promise<void> {
    await (await this.ownWriter({ copy: true })).write(bytes);
  }

  /**
   * Make it a blob of the namespace, under the call's lease.
   *
   * @param size in bytes; 0 accepts any
   * @throws EngineError `failed_precondition` when size or digest is not the expected one, `already_exists` when the namespace has it
   */
  async commit(size: number, expected: Digest | undefined, labels: Record<string, string>): Promise<Adopted> {
    const stored = storedLabels("info.Labels", labels);
    // The long part of a sync, before anybody else has to wait for us.
    if (isWriter(this.source)) await this.source.sync();
    const { database, scope, ref } = this.context;
    return database.write(async () => {
      const blob = await this.commitBackend(size, expected);
      const content = database.content(scope.namespace);
      const exists = (await content.get(blob.digest)) !== undefined;
      const now = toRfc3339(timestampNow());
      const record = { size: blob.size, createdAt: now, updatedAt: now, labels: stored };
      await database.commit(scope.namespace, [
        ...(exists ? [] : [content.put(blob.digest, record)]),
        database.ingests(scope.namespace).delete(ref),
        ...database.unleaseChanges(scope, { type: "ingests", id: ref }),
        ...(await database.leaseChanges(scope, { type: "content", id: blob.digest })),
      ]);
      if (exists) throw new EngineError("already_exists", `content ${blob.digest}: already exists`);
      return blob;
    });
  }

  /** Leave the ingest for a later writer. */
  async close(): Promise<void> {
    if (isWriter(this.source)) await this.source.close();
  }

  private async commitBackend(size: number, expected: Digest | undefined): Promise<Adopted> {
    if (!isWriter(this.source)) return checkAdopted(this.context.ref, this.source, size, expected);
    const blob = { digest: this.digest(), size: this.source.status().offset };
    try {
      return await this.source.commit(size, expected);
    } catch (error) {
      // The blob came into the store by another way meanwhile; the namespace may still lack it.
      if (!(error instanceof EngineError) || error.code !== "already_exists") throw error;
      return { digest: expected ?? blob.digest, size: blob.size };
    }
  }

  /** The writer of bytes of our own: whoever writes to an adopted blob gets a copy to go on with. */
  private async ownWriter({ copy }: { copy: boolean }): Promise<IngestWriter> {
    if (isWriter(this.source)) return this.source;
    const { backend, backendRef } = this.context;
    const { digest } = this.source;
    const writer = await backend.writer({ ref: backendRef });
    writer.truncate();
    this.source = writer;
    if (copy) for await (const chunk of backend.read(digest)) await writer.write(chunk);
    return writer;
  }
}

function isWriter(source: IngestWriter | Adopted): source is IngestWriter {
  return "commit" in source;
}

function checkAdopted(ref: string, blob: Adopted, size: number, expected: Digest | undefined): Adopted {
  if (size !== 0 && size !== blob.size) {
    const what = `${JSON.stringify(ref)} failed size validation: ${blob.size} != ${size}`;
    throw new EngineError("failed_precondition", `${what}: failed precondition`);
  }
  if (expected !== undefined && expected !== blob.digest) {
    throw new EngineError(
      "failed_precondition",
      `${JSON.stringify(ref)} unexpected digest: failed precondition`,
    );
  }
  return blob;
}
