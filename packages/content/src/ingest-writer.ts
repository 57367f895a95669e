import fs from "node:fs";
import path from "node:path";
import { createHasher, type Digest, type DigestAlgorithm, digestParts, type Hasher } from "@longshore/digest";
import { EngineError, isErrno } from "@longshore/errors";
import { fsync, syncDirectory, writeAll } from "./files.ts";
import { type IngestStatus, readStatus } from "./ingest-status.ts";

interface IngestOptions {
  ref: string;
  total: number;
  algorithm: DigestAlgorithm;
  dir: string;
  blobPath(digest: Digest): string;
  release(): void;
}

/** Below this, a write on the event loop is quicker than a trip through the thread pool. */
const SYNC_WRITE_BYTES = 32 << 10;

const REHASH_CHUNK_BYTES = 1 << 20;

/** The one writer of an ingest. What was written stays for the next writer of the ref until it is committed or aborted. */
export class IngestWriter implements AsyncDisposable {
  private readonly options: IngestOptions;
  private readonly startedAt: Date;
  private hasher: Hasher;
  private updatedAt: Date;
  private total: number;
  private offset: number;
  private fd: number | undefined;
  private last: Promise<void> = Promise.resolve();

  private constructor(options: IngestOptions, fd: number, hasher: Hasher, status: IngestStatus) {
    this.options = options;
    this.fd = fd;
    this.hasher = hasher;
    this.offset = status.offset;
    this.total = status.total;
    this.startedAt = status.startedAt;
    this.updatedAt = status.updatedAt;
  }

  static async open(options: IngestOptions): Promise<IngestWriter> {
    const { dir, ref, total } = options;
    const data = path.join(dir, "data");
    const found = readStatus(dir);
    const fits =
      found !== undefined && found.ref === ref && !(total > 0 && found.total > 0 && total !== found.total);
    const status = fits ? found : createIngest(dir, ref, total);
    const fd = fs.openSync(data, fits ? "r+" : "w+", 0o644);
    try {
      const hasher = createHasher(options.algorithm);
      await hashFile(fd, status.offset, hasher);
      return new IngestWriter(options, fd, hasher, status);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  status(): IngestStatus {
    const { ref } = this.options;
    const { offset, total, startedAt, updatedAt } = this;
    return { ref, offset, total, startedAt, updatedAt };
  }

  /** The digest of what was written so far. */
  digest(): Digest {
    return this.hasher.digest();
  }

  /** Append. The caller awaits each call before the next one. */
  write(bytes: Uint8Array): Promise<void> {
    return this.exclusive(() => this.append(bytes));
  }

  private async append(bytes: Uint8Array): Promise<void> {
    const fd = this.openFd();
    try {
      if (bytes.length < SYNC_WRITE_BYTES) {
        fs.writeSync(fd, bytes, 0, bytes.length, this.offset);
        this.hasher.update(bytes);
      } else {
        // The hash is computed while a pool thread writes.
        const written = writeAll(fd, bytes, this.offset);
        this.hasher.update(bytes);
        await written;
      }
    } catch (error) {
      // Hash and file no longer agree: the next writer hashes what is there.
      await this.leave().catch(() => {});
      if (!isErrno(error, "ENOSPC", "EDQUOT")) throw error;
      const what = `write to ref ${this.options.ref}: no space left on device`;
      throw new EngineError("resource_exhausted", `${what}: resource exhausted`, { cause: error });
    }
    this.offset += bytes.length;
    this.updatedAt = new Date();
  }

  /** The file that is written to. Whoever writes to it by himself appends, and lets {@link readFile} follow. */
  file(): { path: string; inode: bigint } {
    const { ino } = fs.fstatSync(this.openFd(), { bigint: true });
    return { path: path.join(this.options.dir, "data"), inode: ino };
  }

  /** Hash what somebody else has appended to the file. */
  readFile(): Promise<void> {
    return this.exclusive(async () => {
      const fd = this.openFd();
      const { size } = fs.fstatSync(fd);
      if (size < this.offset) {
        throw new EngineError(
          "failed_precondition",
          `ref ${this.options.ref}: the file shrank: failed precondition`,
        );
      }
      await hashFile(fd, size, this.hasher, this.offset);
      this.offset = size;
      this.updatedAt = new Date();
    });
  }

  /** Have on disk what was written so far, so that a commit soon after is quick. */
  sync(): Promise<void> {
    return this.exclusive(() => fsync(this.openFd()));
  }

  /** Begin again at offset 0. */
  truncate(): void {
    fs.ftruncateSync(this.openFd(), 0);
    this.offset = 0;
    this.hasher = createHasher(this.options.algorithm);
  }

  /**
   * Make it a blob, synced to disk. The writer is closed whatever happens; a wrong digest also removes what was written, since no
   * resumption could mend it.
   *
   * @param size in bytes; 0 accepts any
   * @throws EngineError `failed_precondition` when size or digest is not the expected one, `already_exists` when there is such a blob
   */
  commit(size = 0, expected?: Digest): Promise<{ digest: Digest; size: number }> {
    return this.exclusive(() => this.finish(size, expected));
  }

  private async finish(
    size: number,
    expected: Digest | undefined,
  ): Promise<{ digest: Digest; size: number }> {
    const fd = this.openFd();
    const { dir, blobPath } = this.options;
    let remove = false;
    try {
      await fsync(fd);
      if (size > 0 && size !== this.offset) {
        throw new EngineError(
          "failed_precondition",
          `unexpected commit size ${this.offset}, expected ${size}: failed precondition`,
        );
      }
      if (expected && digestParts(expected).algorithm !== this.hasher.algorithm) {
        this.hasher = createHasher(digestParts(expected).algorithm);
        await hashFile(fd, this.offset, this.hasher);
      }
      const digest = this.digest();
      if (expected && expected !== digest) {
        remove = true;
        throw new EngineError(
          "failed_precondition",
          `unexpected commit digest ${digest}, expected ${expected}: failed precondition`,
        );
      }
      this.openFd(); // refuse when aborted meanwhile
      remove = true;
      const target = blobPath(digest);
      if (fs.existsSync(target)) throw new EngineError("already_exists", `content ${digest}: already exists`);
      fs.fchmodSync(fd, 0o444);
      fs.mkdirSync(path.dirname(target), { recursive: true });
      fs.renameSync(path.join(dir, "data"), target);
      await syncDirectory(path.dirname(target));
      return { digest, size: this.offset };
    } finally {
      if (remove) await fs.promises.rm(dir, { recursive: true, force: true });
      this.release();
    }
  }

  /** Leave the ingest as it is, for a later writer. */
  close(): Promise<void> {
    return this.exclusive(() => this.leave());
  }

  private async leave(): Promise<void> {
    if (this.fd === undefined) return;
    const fd = this.fd;
    try {
      const { dir } = this.options;
      if (fs.existsSync(dir)) fs.writeFileSync(path.join(dir, "updatedat"), this.updatedAt.toISOString());
      await fsync(fd);
    } finally {
      this.release();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** One operation after the other: closing under a running fsync would hit whatever gets the descriptor's number next. */
  private exclusive<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.last.then(operation);
    this.last = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  private release(): void {
    if (this.fd === undefined) return;
    fs.closeSync(this.fd);
    this.fd = undefined;
    this.options.release();
  }

  private openFd(): number {
    if (this.fd !== undefined) return this.fd;
    throw new EngineError("failed_precondition", "cannot commit on closed writer: failed precondition");
  }
}

function createIngest(dir: string, ref: string, total: number): IngestStatus {
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir, { recursive: true, mode: 0o755 });
  const now = new Date();
  fs.writeFileSync(path.join(dir, "ref"), ref);
  fs.writeFileSync(path.join(dir, "startedat"), now.toISOString());
  fs.writeFileSync(path.join(dir, "updatedat"), now.toISOString());
  if (total > 0) fs.writeFileSync(path.join(dir, "total"), String(total));
  return { ref, offset: 0, total, startedAt: now, updatedAt: now };
}

async function hashFile(fd: number, length: number, hasher: Hasher, from = 0): Promise<void> {
  if (length === from) return;
  const buffer = Buffer.allocUnsafe(Math.min(length - from, REHASH_CHUNK_BYTES));
  for (let position = from; position < length; ) {
    const wanted = Math.min(buffer.length, length - position);
    const n = await new Promise<number>((resolve, reject) =>
      fs.read(fd, buffer, 0, wanted, position, (error, bytesRead) =>
        error ? reject(error) : resolve(bytesRead),
      ),
    );
    if (n === 0) throw new Error(`the ingest shrank to ${position} of ${length} bytes while it was read`);
    hasher.update(buffer.subarray(0, n));
    position += n;
  }
}
