import fs from "node:fs";
import type { WriteContentRequest } from "@longshore/api/containerd/services/content/v1/content";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { LocalContentDefinition } from "@longshore/api/longshore/content/v1/content";
import { EngineError, errorCode, isErrno, toEngineError } from "@longshore/errors";
import { createClient } from "@longshore/rpc";
import { AsyncQueue } from "./async-queue.ts";
import { collectNowAndThen } from "./collect.ts";
import { type ContainerdChannels, WRITE_BYTES } from "./containerd-channels.ts";
import type { Labels } from "./labels.ts";
import type { Descriptor } from "./manifest.ts";

/** A blob being written. Closing it keeps what was written for a later ingest to go on from. */
export interface Ingest {
  /** Bytes that the store has. */
  readonly offset: number;
  /** Whether the store, and not the registry, broke off. */
  readonly failed: boolean;
  /** As much is best written at once. */
  readonly writeBytes: number;
  /** Append. The caller awaits each call before the next one. */
  write(data: Buffer): Promise<void>;
  /**
   * Make a blob of what was written; `exists` when somebody else was first, whose labels it then has.
   * @throws EngineError `failed_precondition` when what was written does not have the digest or size
   */
  commit(labels: Labels): Promise<"committed" | "exists">;
  close(): Promise<void>;
}

export interface IngestOptions {
  ref: string;
  descriptor: Descriptor;
  metadata: Record<string, string>;
  signal: AbortSignal;
}

/**
 * Start or go on writing a blob: into the ingest's file where the containerd is ours and its files are in reach, else through gRPC.
 * @throws EngineError `already_exists` when the store has it, `unavailable` while somebody else writes it
 */
export async function openIngest(channels: ContainerdChannels, options: IngestOptions): Promise<Ingest> {
  if (channels.localWrites !== false) {
    const local = new FileIngest(channels, options);
    try {
      if (await local.open(options.ref)) {
        channels.localWrites = true;
        return local;
      }
      await local.close();
    } catch (error) {
      await local.close();
      if (errorCode(error) !== "unimplemented") throw error;
    }
    channels.localWrites = false;
  }
  const ingest = new StreamedIngest(channels, options);
  try {
    await ingest.open(options.ref);
    return ingest;
  } catch (error) {
    await ingest.close();
    throw error;
  }
}

/** A two-way stream of which each request has one answer. */
class Dialogue<Request, Response> {
  readonly #requests = new AsyncQueue<Request>();
  readonly #responses: AsyncIterator<Response>;
  readonly #digest: string;
  readonly #release: () => void;
  #failed = false;
  #closed = false;

  constructor(
    call: (requests: AsyncIterable<Request>) => AsyncIterable<Response>,
    { digest, release }: { digest: string; release: () => void },
  ) {
    this.#digest = digest;
    this.#release = release;
    this.#responses = call(this.#requests)[Symbol.asyncIterator]();
  }

  get failed(): boolean {
    return this.#failed;
  }

  fail(error: unknown): never {
    this.#failed = true;
    throw error;
  }

  async ask(request: Request): Promise<Response> {
    this.#requests.push(request);
    const { done, value } = await this.#responses.next().catch((error: unknown) => this.fail(error));
    if (!done) return value;
    return this.fail(new EngineError("unavailable", `${this.#digest}: the content store ended the write`));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#requests.end();
    await this.#responses.return?.();
    this.#release();
  }
}

/** By `Content.Write`, which every containerd has. */
class StreamedIngest implements Ingest {
  readonly writeBytes = WRITE_BYTES;
  readonly #descriptor: Descriptor;
  readonly #dialogue: Dialogue<WriteContentRequest, { offset: bigint }>;
  #offset = 0;

  constructor(channels: ContainerdChannels, { descriptor, metadata, signal }: IngestOptions) {
    const channel = channels.take();
    const content = createClient(channel, ContentDefinition, { metadata });
    this.#descriptor = descriptor;
    this.#dialogue = new Dialogue((requests) => content.write(requests, { signal }), {
      digest: descriptor.digest,
      release: () => channels.giveBack(channel),
    });
  }

  get offset(): number {
    return this.#offset;
  }

  get failed(): boolean {
    return this.#dialogue.failed;
  }

  async open(ref: string): Promise<void> {
    this.#offset = Number((await this.#call(WriteAction.STAT, { ref })).offset);
  }

  async write(data: Buffer): Promise<void> {
    for (let start = 0; start < data.length; start += WRITE_BYTES) {
      await this.#writeOne(data.subarray(start, start + WRITE_BYTES));
    }
  }

  async #writeOne(data: Buffer): Promise<void> {
    const { offset } = await this.#call(WriteAction.WRITE, { data });
    if (Number(offset) !== this.#offset + data.length) {
      const what = `${this.#descriptor.digest}: the content store wrote only a part`;
      this.#dialogue.fail(new EngineError("data_loss", what));
    }
    this.#offset += data.length;
    collectNowAndThen(data.length);
  }

  async commit(labels: Labels): Promise<"committed" | "exists"> {
    return committed(this.#call(WriteAction.COMMIT, { labels }));
  }

  close(): Promise<void> {
    return this.#dialogue.close();
  }

  #call(action: WriteAction, fields: Partial<WriteContentRequest>): Promise<{ offset: bigint }> {
    return this.#dialogue.ask({
      action,
      ref: "",
      // The store looks the expected digest up each time that it is told: at the ends is enough.
      total: action === WriteAction.WRITE ? 0n : BigInt(this.#descriptor.size),
      expected: action === WriteAction.WRITE ? "" : this.#descriptor.digest,
      offset: BigInt(this.#offset),
      data: Buffer.alloc(0),
      labels: {},
      ...fields,
    });
  }
}

/** By our containerd's `LocalContent.Write`: the bytes go to the file, and what the store is told is where they end. */
class FileIngest implements Ingest {
  readonly writeBytes = 256 << 10;
  readonly #descriptor: Descriptor;
  readonly #dialogue: ReturnType<typeof localDialogue>;
  #file: fs.promises.FileHandle | undefined;
  #offset = 0;

  constructor(channels: ContainerdChannels, options: IngestOptions) {
    this.#descriptor = options.descriptor;
    this.#dialogue = localDialogue(channels, options);
  }

  get offset(): number {
    return this.#offset;
  }

  get failed(): boolean {
    return this.#dialogue.failed;
  }

  /** False when its file is not to be seen from here. */
  async open(ref: string): Promise<boolean> {
    const total = BigInt(this.#descriptor.size);
    const { path, inode, offset } = await this.#dialogue.ask({
      step: { $case: "open", value: { ref, total, expected: this.#descriptor.digest } },
    });
    this.#offset = Number(offset);
    if (path === "") return true; // nothing to write
    try {
      this.#file = await fs.promises.open(path, "r+");
    } catch (error) {
      if (isErrno(error, "ENOENT", "EACCES", "EROFS")) return false;
      throw error;
    }
    return (await this.#file.stat({ bigint: true })).ino === inode;
  }

  async write(data: Buffer): Promise<void> {
    if (!this.#file) throw new Error("an ingest without a file is written to");
    try {
      for (let done = 0; done < data.length; ) {
        const at = this.#offset + done;
        const { bytesWritten } = await this.#file.write(data, done, data.length - done, at);
        done += bytesWritten;
      }
    } catch (error) {
      const code = isErrno(error, "ENOSPC", "EDQUOT") ? "resource_exhausted" : "internal";
      const { message } = toEngineError(error);
      this.#dialogue.fail(new EngineError(code, `${this.#descriptor.digest}: ${message}`, { cause: error }));
    }
    this.#offset += data.length;
    collectNowAndThen(data.length);
  }

  async commit(labels: Labels): Promise<"committed" | "exists"> {
    await this.#closeFile();
    const { size, digest } = this.#descriptor;
    const value = { total: BigInt(size), expected: digest, labels };
    return committed(this.#dialogue.ask({ step: { $case: "commit", value } }));
  }

  async close(): Promise<void> {
    await this.#closeFile();
    await this.#dialogue.close();
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

function localDialogue(channels: ContainerdChannels, { descriptor, metadata, signal }: IngestOptions) {
  const content = createClient(channels.shared, LocalContentDefinition, { metadata });
  return new Dialogue(
    (requests: Parameters<typeof content.write>[0]) => content.write(requests, { signal }),
    {
      digest: descriptor.digest,
      release: () => undefined,
    },
  );
}

async function committed(commit: Promise<unknown>): Promise<"committed" | "exists"> {
  try {
    await commit;
    return "committed";
  } catch (error) {
    if (toEngineError(error).code === "already_exists") return "exists";
    throw error;
  }
}
