import fs from "node:fs";
import path from "node:path";
import { type Digest, type DigestAlgorithm, digestOf, digestParts, isDigest } from "@longshore/digest";
import { EngineError, isErrno } from "@longshore/errors";
import { type IngestStatus, readStatus } from "./ingest-status.ts";
import { IngestWriter } from "./ingest-writer.ts";

export interface WriterOptions {
  /** Name of the ingest; one writer at a time. A later writer of the same ref goes on where the last one stopped. */
  ref: string;
  /** Expected size in bytes, 0 when unknown. */
  total?: number;
  algorithm?: DigestAlgorithm;
}

/**
 * Blobs by digest in a directory: `blobs/<algorithm>/<hex>`, and unfinished ones in `ingest/<sha256 of ref>/` (`data`, `ref`,
 * `total`, `startedat`, `updatedat`). The layout is containerd's, `plugins/content/local`. Knows no namespaces and no labels.
 */
export class ContentStore {
  readonly root: string;
  private readonly writers = new Map<string, { since: Date; writer?: IngestWriter }>();

  /** @param root made when missing */
  constructor(root: string) {
    this.root = root;
    fs.mkdirSync(path.join(root, "blobs/sha256"), { recursive: true, mode: 0o755 });
    fs.mkdirSync(path.join(root, "ingest"), { recursive: true, mode: 0o755 });
  }

  /** Where a blob's bytes are, whether they exist or not. */
  blobPath(digest: Digest): string {
    const { algorithm, hex } = digestParts(digest);
    return path.join(this.root, "blobs", algorithm, hex);
  }

  /** The size of a blob in bytes; undefined when it is not there. */
  size(digest: Digest): number | undefined {
    return fs.statSync(this.blobPath(digest), { throwIfNoEntry: false })?.size;
  }

  /** All digests that are there. */
  list(): Digest[] {
    const root = path.join(this.root, "blobs");
    return fs
      .readdirSync(root)
      .flatMap((algorithm) => fs.readdirSync(path.join(root, algorithm)).map((hex) => `${algorithm}:${hex}`))
      .filter(isDigest);
  }

  /**
   * Read a range of a blob, in chunks of at most `chunkBytes`.
   *
   * @throws EngineError `not_found`
   */
  async *read(digest: Digest, { offset = 0, length = Number.POSITIVE_INFINITY, chunkBytes = 1 << 20 } = {}) {
    let file: fs.promises.FileHandle;
    try {
      file = await fs.promises.open(this.blobPath(digest), "r");
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      throw new EngineError("not_found", `content ${digest}: not found`, { cause: error });
    }
    try {
      let left = length;
      for (let position = offset; left > 0; ) {
        const buffer = Buffer.allocUnsafeSlow(Math.min(left, chunkBytes));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
        if (bytesRead === 0) return;
        position += bytesRead;
        left -= bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  /**
   * Start or resume an ingest.
   *
   * @throws EngineError `unavailable` while another writer holds the ref
   */
  async writer({ ref, total = 0, algorithm = "sha256" }: WriterOptions): Promise<IngestWriter> {
    const held = this.writers.get(ref);
    if (held) {
      const since = held.since.toISOString();
      throw new EngineError("unavailable", `ref ${ref} locked (since ${since}): unavailable`);
    }
    const lock: { since: Date; writer?: IngestWriter } = { since: new Date() };
    this.writers.set(ref, lock);
    try {
      lock.writer = await IngestWriter.open({
        ref,
        total,
        algorithm,
        dir: this.ingestPath(ref),
        blobPath: (digest) => this.blobPath(digest),
        release: () => this.writers.delete(ref),
      });
      return lock.writer;
    } catch (error) {
      this.writers.delete(ref);
      throw error;
    }
  }

  /** @throws EngineError `not_found` */
  status(ref: string): IngestStatus {
    const status = readStatus(this.ingestPath(ref));
    if (!status) throw new EngineError("not_found", `ingest ref ${JSON.stringify(ref)}: not found`);
    return status;
  }

  /** All unfinished ingests. */
  statuses(): IngestStatus[] {
    const root = path.join(this.root, "ingest");
    return fs
      .readdirSync(root)
      .map((name) => readStatus(path.join(root, name)))
      .filter((status) => status !== undefined);
  }

  /**
   * Throw an ingest away; a writer that is still open fails at its next step.
   *
   * @returns whether there was one
   */
  async abort(ref: string): Promise<boolean> {
    await this.writers.get(ref)?.writer?.close();
    const dir = this.ingestPath(ref);
    if (!fs.existsSync(dir)) return false;
    await fs.promises.rm(dir, { recursive: true, force: true });
    return true;
  }

  /** The file of an ingest's bytes. Written to only while no writer has the ref. */
  ingestFile(ref: string): string {
    return path.join(this.ingestPath(ref), "data");
  }

  /** Remove a blob; readers that have it open keep it. @returns whether it was there */
  async delete(digest: Digest): Promise<boolean> {
    try {
      await fs.promises.unlink(this.blobPath(digest));
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      return false;
    }
    return true;
  }

  private ingestPath(ref: string): string {
    return path.join(this.root, "ingest", digestParts(digestOf(ref)).hex);
  }
}
