import fs from "node:fs";
import {
  ContentDefinition,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "@longshore/api/containerd/services/content/v1/content";
import {
  LocalContentDefinition,
  type LocalWriteRequest,
  type LocalWriteResponse,
} from "@longshore/api/longshore/content/v1/content";
import { EngineError, errorCode, isErrno } from "@longshore/errors";
import { type channelTo, createClient } from "@longshore/rpc";
import { Dialogue } from "../containerd/dialogue.ts";

/**
 * What one message carries. A Go server enlarges its receive windows when it sees more than this in flight, and Bun's HTTP/2 client then
 * waits for ever: it doesn't widen its open streams' windows (RFC 9113, 6.9.2).
 */
const WRITE_BYTES = 32 << 10;

export interface Blob {
  digest: string;
  size: number;
}

/** A blob on its way into the content store. Closing it without a commit leaves an ingest. */
export interface BlobSink {
  write(piece: Buffer): Promise<void>;
  /** @throws EngineError `already_exists`, `failed_precondition` when the digest is another than expected */
  commit(labels: Record<string, string>): Promise<Blob>;
  /** Of what was written. */
  digest(): string;
  /** Under which the ingest is left. */
  readonly ref: string;
  close(): Promise<void>;
}

export interface SinkOptions {
  channel: ReturnType<typeof channelTo>;
  metadata: Record<string, string>;
  ref: string;
  /** What the digest has to be; empty: whatever it is. */
  expected: string;
  signal: AbortSignal | undefined;
}

/** Channels to a containerd whose files are not to be written from here. */
const foreign = new WeakSet<object>();

/**
 * Begin a blob: in the ingest's file where the containerd is ours and its files are in reach, else through gRPC.
 *
 * @throws EngineError `already_exists`
 */
export async function openSink(options: SinkOptions): Promise<BlobSink> {
  if (!foreign.has(options.channel)) {
    const local = new FileSink(options);
    try {
      const where = await local.open();
      if (where === "here") return local;
      if (where === "out of reach") foreign.add(options.channel);
      await local.abandon();
    } catch (error) {
      await local.close();
      if (errorCode(error) !== "unimplemented") throw error;
      foreign.add(options.channel);
    }
  }
  // Under another name: the store may not have let go of the first one yet.
  const sink = new StreamSink({ ...options, ref: `${options.ref}-streamed` });
  try {
    await sink.open();
    return sink;
  } catch (error) {
    await sink.close();
    throw error;
  }
}

/** By our containerd's `LocalContent.Write`. */
class FileSink implements BlobSink {
  readonly ref: string;
  private readonly options: SinkOptions;
  private readonly dialogue: Dialogue<LocalWriteRequest, LocalWriteResponse>;
  private readonly hasher = new Bun.CryptoHasher("sha256");
  private file: fs.promises.FileHandle | undefined;
  private size = 0;
  private result: string | undefined;

  constructor(options: SinkOptions) {
    this.options = options;
    this.ref = options.ref;
    const { channel, metadata, signal } = options;
    const content = createClient(channel, LocalContentDefinition, { metadata });
    this.dialogue = new Dialogue((requests: AsyncIterable<LocalWriteRequest>) =>
      content.write(requests, signal ? { signal } : {}),
    );
  }

  /** Where its bytes are to be written: `nowhere` when the store has them for another namespace. */
  async open(): Promise<"here" | "nowhere" | "out of reach"> {
    const { ref, expected } = this.options;
    const value = { ref, total: 0n, expected };
    const { path, inode } = await this.dialogue.ask({ step: { $case: "open", value } });
    if (path === "") return "nowhere";
    try {
      this.file = await fs.promises.open(path, "r+");
    } catch (error) {
      if (isErrno(error, "ENOENT", "EACCES", "EROFS")) return "out of reach";
      throw error;
    }
    return (await this.file.stat({ bigint: true })).ino === inode ? "here" : "out of reach";
  }

  async abandon(): Promise<void> {
    await this.close();
    const { channel, metadata, ref } = this.options;
    await createClient(channel, ContentDefinition, { metadata })
      .abort({ ref })
      .catch(() => {}); // garbage collection finds it
  }

  async write(piece: Buffer): Promise<void> {
    const { file } = this;
    if (!file) throw new Error("a blob without a file is written to");
    this.hasher.update(piece);
    try {
      for (let done = 0; done < piece.length; ) {
        done += (await file.write(piece, done, piece.length - done, this.size + done)).bytesWritten;
      }
    } catch (error) {
      if (!isErrno(error, "ENOSPC", "EDQUOT")) throw error;
      throw new EngineError("resource_exhausted", (error as Error).message, { cause: error });
    }
    this.size += piece.length;
  }

  async commit(labels: Record<string, string>): Promise<Blob> {
    await this.closeFile();
    const value = { total: BigInt(this.size), expected: this.options.expected, labels };
    const { digest } = await this.dialogue.ask({ step: { $case: "commit", value } });
    return { digest, size: this.size };
  }

  digest(): string {
    this.result ??= `sha256:${this.hasher.digest("hex")}`;
    return this.result;
  }

  async close(): Promise<void> {
    await this.closeFile();
    await this.dialogue.close();
  }

  private async closeFile(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }
}

/** By containerd's own `Content.Write`. */
class StreamSink implements BlobSink {
  readonly ref: string;
  private readonly options: SinkOptions;
  private readonly dialogue: Dialogue<WriteContentRequest, WriteContentResponse>;
  private offset = 0n;
  private last = "";

  constructor(options: SinkOptions) {
    this.options = options;
    this.ref = options.ref;
    const { channel, metadata, signal } = options;
    const content = createClient(channel, ContentDefinition, { metadata });
    this.dialogue = new Dialogue((requests: AsyncIterable<WriteContentRequest>) =>
      content.write(requests, signal ? { signal } : {}),
    );
  }

  async open(): Promise<void> {
    await this.ask({ action: WriteAction.STAT, expected: this.options.expected });
  }

  async write(piece: Buffer): Promise<void> {
    for (let start = 0; start < piece.length; start += WRITE_BYTES) {
      const data = piece.subarray(start, start + WRITE_BYTES);
      await this.ask({ action: WriteAction.WRITE, data, offset: this.offset });
    }
  }

  async commit(labels: Record<string, string>): Promise<Blob> {
    const size = Number(this.offset);
    const { expected } = this.options;
    await this.ask({ action: WriteAction.COMMIT, expected, labels, offset: this.offset });
    return { digest: this.last, size };
  }

  digest(): string {
    return this.last;
  }

  close(): Promise<void> {
    return this.dialogue.close();
  }

  private async ask(fields: Partial<WriteContentRequest> & { action: WriteAction }): Promise<void> {
    const { offset, digest } = await this.dialogue.ask({
      ref: this.options.ref,
      total: 0n,
      expected: "",
      offset: 0n,
      data: Buffer.alloc(0),
      labels: {},
      ...fields,
    });
    this.offset = offset;
    if (digest !== "") this.last = digest;
  }
}
