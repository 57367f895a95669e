import crypto from "node:crypto";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError, errorCode } from "@longshore/errors";
import { channelTo } from "@longshore/rpc";
import type { ContainerdClient } from "../containerd/client.ts";
import { type Blob, type BlobSink, openSink } from "./blob-sink.ts";
import { collectNowAndThen } from "./collect.ts";

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
    let sink: BlobSink | undefined;
    let committed = false;
    try {
      sink = await openSink({ channel: this.channel, metadata, ref, expected, signal });
      for await (const piece of pieces) {
        await sink.write(piece);
        collectNowAndThen(piece.length);
      }
      const blob = await sink.commit(labels);
      committed = true;
      return blob;
    } catch (error) {
      if (errorCode(error) === "already_exists") {
        const digest = expected || (sink?.digest() ?? "");
        return { digest, size: await this.adopt(digest, labels) };
      }
      if (errorCode(error) === "failed_precondition" && expected !== "") {
        const message = `the content of blob ${expected} has another digest`;
        throw new EngineError("invalid_argument", message, { cause: error });
      }
      throw error;
    } finally {
      await sink?.close();
      if (sink && !committed) await this.containerd.content.abort({ ref: sink.ref }).catch(() => {});
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
