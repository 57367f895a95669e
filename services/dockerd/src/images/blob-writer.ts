import crypto from "node:crypto";
import {
  ContentDefinition,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "@longshore/api/containerd/services/content/v1/content";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError, errorCode } from "@longshore/errors";
import { channelTo, createClient } from "@longshore/rpc";
import type { ContainerdClient } from "../containerd/client.ts";

/**
 * What one message carries. A Go server enlarges its receive windows when it sees more than this in flight, and Bun's HTTP/2 client then
 * waits for ever: it doesn't widen its open streams' windows (RFC 9113, 6.9.2).
 */
const WRITE_BYTES = 32 << 10;

export interface Blob {
  digest: string;
  size: number;
}

export interface WriteOptions {
  /** What the digest has to be. */
  expected?: string;
  labels?: Record<string, string>;
  signal?: AbortSignal;
}

/** Writes blobs to containerd's content store under a lease, over a connection of its own. One at a time. */
export class BlobWriter implements Disposable {
  private readonly containerd: ContainerdClient;
  private readonly lease: string;
  private readonly channel: ReturnType<typeof channelTo>;

  constructor(containerd: ContainerdClient, lease: string) {
    this.containerd = containerd;
    this.lease = lease;
    this.channel = channelTo(containerd.socketPath, { ownConnection: true });
  }

  [Symbol.dispose](): void {
    this.channel.close();
  }

  /** A small document. */
  async document(
    mediaType: string,
    content: string | Buffer,
    labels: Record<string, string> = {},
  ): Promise<Descriptor> {
    const bytes = Buffer.from(content);
    const expected = `sha256:${crypto.createHash("sha256").update(bytes).digest("hex")}`;
    await this.write(one(bytes), { expected, labels });
    return { mediaType, digest: expected, size: BigInt(bytes.length), annotations: {} };
  }

  /**
   * A blob that comes in pieces; they are only read up to the end of each call. Pieces of one that is there already are left unread.
   * @throws EngineError `invalid_argument` when the digest is another than expected
   */
  async write(pieces: AsyncIterable<Buffer>, options: WriteOptions = {}): Promise<Blob> {
    const { expected = "", labels = {}, signal } = options;
    const ref = `dockerd-${crypto.randomUUID()}`;
    const metadata = { "containerd-namespace": this.containerd.namespace, "containerd-lease": this.lease };
    const exchange = new Exchange(createClient(this.channel, ContentDefinition, { metadata }), ref, signal);
    let committed = false;
    try {
      let last = await exchange.send({ action: WriteAction.STAT, expected });
      for await (const piece of pieces) {
        for (let start = 0; start < piece.length; start += WRITE_BYTES) {
          const data = piece.subarray(start, start + WRITE_BYTES);
          last = await exchange.send({ action: WriteAction.WRITE, data, offset: last.offset });
        }
      }
      const size = Number(last.offset);
      const { digest } = await exchange.send({
        action: WriteAction.COMMIT,
        expected,
        labels,
        offset: last.offset,
      });
      committed = true;
      return { digest, size };
    } catch (error) {
      if (errorCode(error) === "already_exists") {
        const digest = expected || exchange.digest;
        return { digest, size: await this.adopt(digest, labels) };
      }
      if (errorCode(error) === "failed_precondition" && expected !== "") {
        const message = `the content of blob ${expected} has another digest`;
        throw new EngineError("invalid_argument", message, { cause: error });
      }
      throw error;
    } finally {
      await exchange.close();
      if (!committed) await this.containerd.content.abort({ ref }).catch(() => {});
    }
  }

  /** Let the lease hold a blob that is there, and give it the labels that it lacks. */
  async adopt(digest: string, labels: Record<string, string> = {}): Promise<number> {
    const { content, leases } = this.containerd;
    await leases.addResource({ id: this.lease, resource: { id: digest, type: "content" } });
    const { info } = await content.info({ digest });
    const updateMask = Object.keys(labels)
      .filter((key) => info?.labels[key] !== labels[key])
      .map((key) => `labels.${key}`);
    if (updateMask.length > 0) {
      const change = { digest, size: 0n, createdAt: undefined, updatedAt: undefined, labels };
      await content.update({ info: change, updateMask });
    }
    return Number(info?.size ?? 0n);
  }
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** One call of Write: each request is sent when the one before it was answered. */
class Exchange {
  /** Of what the store has so far. */
  digest = "";
  private readonly ref: string;
  private readonly answers: AsyncIterator<WriteContentResponse>;
  private next: { take: (request: WriteContentRequest | undefined) => void } | undefined;
  private waiting: (WriteContentRequest | undefined)[] = [];

  constructor(
    content: { write: ContainerdClient["content"]["write"] },
    ref: string,
    signal: AbortSignal | undefined,
  ) {
    this.ref = ref;
    this.answers = content.write(this.requests(), signal ? { signal } : {})[Symbol.asyncIterator]();
  }

  async send(fields: Partial<WriteContentRequest> & { action: WriteAction }): Promise<WriteContentResponse> {
    this.push({
      ref: this.ref,
      total: 0n,
      expected: "",
      offset: 0n,
      data: Buffer.alloc(0),
      labels: {},
      ...fields,
    });
    const { done, value } = await this.answers.next();
    if (done) throw new EngineError("unavailable", "the content store ended the write");
    if (value.digest !== "") this.digest = value.digest;
    return value;
  }

  async close(): Promise<void> {
    this.push(undefined);
    await this.answers.return?.();
  }

  private push(request: WriteContentRequest | undefined): void {
    if (this.next) this.next.take(request);
    else this.waiting.push(request);
  }

  private async *requests(): AsyncGenerator<WriteContentRequest> {
    for (;;) {
      const request =
        this.waiting.length > 0
          ? this.waiting.shift()
          : await new Promise<WriteContentRequest | undefined>((resolve) => {
              this.next = {
                take: (given) => {
                  this.next = undefined;
                  resolve(given);
                },
              };
            });
      if (!request) return;
      yield request;
    }
  }
}
