import type {
  WriteContentRequest,
  WriteContentResponse,
} from "@longshore/api/containerd/services/content/v1/content";
import {
  ContentDefinition,
  type Info,
  WriteAction,
} from "@longshore/api/containerd/services/content/v1/content";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { EngineError, toEngineError } from "@longshore/errors";
import { type ClientOf, createClient } from "@longshore/rpc";
import { AsyncQueue } from "./async-queue.ts";
import { type ContainerdChannels, WRITE_BYTES } from "./containerd-channels.ts";
import { type Labels, missingLabels } from "./labels.ts";
import type { Descriptor } from "./manifest.ts";
import { isConfig, isIndex, isLayer, isManifest } from "./media-types.ts";
import { pause } from "./registry/http.ts";
import { backoff } from "./registry/retry.ts";

const LOCK_ATTEMPTS = 600;
const LOCK_PAUSE_MS = 20;
const ABORT_ATTEMPTS = 20;
const ABORT_PAUSE_MS = 25;

/** containerd's content store, for one namespace and lease. */
export class ContentStore {
  readonly namespace: string;
  readonly #lease: string;
  readonly #channels: ContainerdChannels;
  readonly #metadata: Record<string, string>;
  readonly #content: ClientOf<typeof ContentDefinition>;
  readonly #leases: ClientOf<typeof LeasesDefinition>;

  constructor(
    channels: ContainerdChannels,
    { namespace, lease = "" }: { namespace: string; lease?: string },
  ) {
    const metadata: Record<string, string> = { "containerd-namespace": namespace };
    if (lease) metadata["containerd-lease"] = lease;
    this.namespace = namespace;
    this.#lease = lease;
    this.#channels = channels;
    this.#metadata = metadata;
    this.#content = createClient(channels.shared, ContentDefinition, { metadata });
    this.#leases = createClient(channels.shared, LeasesDefinition, { metadata });
  }

  async info(digest: string, signal?: AbortSignal): Promise<Info | undefined> {
    try {
      const { info } = await this.#content.info({ digest }, signal && { signal });
      return info;
    } catch (error) {
      if (toEngineError(error).code === "not_found") return undefined;
      throw error;
    }
  }

  /**
   * Whether a blob is held, with this lease protecting it from here on and the labels added that it lacks.
   * @param labelsFor from those that it has
   */
  async adopt(
    digest: string,
    labelsFor: (existing: Labels) => Labels,
    signal: AbortSignal,
  ): Promise<boolean> {
    let info = await this.info(digest, signal);
    if (!info) return false;
    if (this.#lease) {
      await this.#leases.addResource(
        { id: this.#lease, resource: { id: digest, type: "content" } },
        { signal },
      );
      // The garbage collector may have taken it before the lease held it.
      info = await this.info(digest, signal);
      if (!info) return false;
    }
    const labels = missingLabels(labelsFor(info.labels), info.labels);
    if (Object.keys(labels).length > 0) {
      const change = { digest, size: 0n, createdAt: undefined, updatedAt: undefined, labels };
      const updateMask = Object.keys(labels).map((key) => `labels.${key}`);
      await this.#content.update({ info: change, updateMask }, { signal });
    }
    return true;
  }

  /** The whole of a small blob. @throws EngineError `resource_exhausted` when it is longer than the limit */
  async read(digest: string, limitBytes: number, signal: AbortSignal): Promise<Buffer<ArrayBuffer>> {
    const parts: Buffer[] = [];
    let length = 0;
    for await (const { data } of this.#content.read({ digest, offset: 0n, size: 0n }, { signal })) {
      length += data.length;
      if (length > limitBytes)
        throw new EngineError("resource_exhausted", `${digest} is longer than ${limitBytes} bytes`);
      parts.push(data);
    }
    return Buffer.concat(parts);
  }

  /** A blob from an offset on. */
  async *stream(digest: string, offset: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    for await (const { data } of this.#content.read(
      { digest, offset: BigInt(offset), size: 0n },
      { signal },
    )) {
      yield data;
    }
  }

  /**
   * Start or go on writing a blob; `exists` when the store has it. Waits while somebody else writes the same one.
   */
  async ingest(descriptor: Descriptor, signal: AbortSignal): Promise<Ingest | "exists"> {
    const ref = ingestRef(descriptor);
    for (let attempt = 1; ; attempt += 1) {
      const ingest = new Ingest(this.#channels, { descriptor, metadata: this.#metadata, signal });
      try {
        await ingest.open(ref);
        return ingest;
      } catch (error) {
        await ingest.close();
        const { code, message } = toEngineError(error);
        if (code === "already_exists") return "exists";
        // "ref … locked": containerd lets one writer at a time have an ingest.
        if (code !== "unavailable" || !message.includes("locked") || attempt >= LOCK_ATTEMPTS) throw error;
        await pause(Math.min(500, backoff(Math.min(attempt, 6), LOCK_PAUSE_MS)), signal);
      }
    }
  }

  /** Throw a partial ingest away. */
  async abort(descriptor: Descriptor): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#content.abort({ ref: ingestRef(descriptor) });
        return;
      } catch (error) {
        const { code } = toEngineError(error);
        if (code === "not_found") return;
        // containerd may still be closing the file of a write that has just ended, in the directory that it removes.
        if (code !== "unknown" || attempt >= ABORT_ATTEMPTS) throw error;
        await Bun.sleep(ABORT_PAUSE_MS);
      }
    }
  }
}

/** The name of a blob's ingest, the same as containerd's own pull has (`remotes.MakeRefKey`). */
export function ingestRef({ mediaType, digest }: Descriptor): string {
  if (isManifest(mediaType)) return `manifest-${digest}`;
  if (isIndex(mediaType)) return `index-${digest}`;
  if (isLayer(mediaType)) return `layer-${digest}`;
  return `${isConfig(mediaType) ? "config" : "unknown"}-${digest}`;
}

/** A blob being written. Closing it keeps what was written for a later ingest to go on from. */
export class Ingest {
  readonly #requests = new AsyncQueue<WriteContentRequest>();
  readonly #responses: AsyncIterator<WriteContentResponse>;
  readonly #descriptor: Descriptor;
  readonly #release: () => void;
  #offset = 0;
  #failed = false;
  #closed = false;

  constructor(
    channels: ContainerdChannels,
    options: { descriptor: Descriptor; metadata: Record<string, string>; signal: AbortSignal },
  ) {
    const { descriptor, metadata, signal } = options;
    const channel = channels.take();
    this.#descriptor = descriptor;
    this.#release = () => channels.giveBack(channel);
    const content = createClient(channel, ContentDefinition, { metadata });
    this.#responses = content.write(this.#requests, { signal })[Symbol.asyncIterator]();
  }

  /** Bytes that the store has. */
  get offset(): number {
    return this.#offset;
  }

  /** Whether the store, and not the registry, broke off. */
  get failed(): boolean {
    return this.#failed;
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
    const response = await this.#call(WriteAction.WRITE, { data });
    if (Number(response.offset) !== this.#offset + data.length) {
      this.#failed = true;
      throw new EngineError("data_loss", `${this.#descriptor.digest}: the content store wrote only a part`);
    }
    this.#offset += data.length;
  }

  /**
   * Make a blob of what was written; `exists` when somebody else was first, whose labels it then has.
   * @throws EngineError `failed_precondition` when what was written does not have the digest or size
   */
  async commit(labels: Labels): Promise<"committed" | "exists"> {
    try {
      await this.#call(WriteAction.COMMIT, { labels });
      return "committed";
    } catch (error) {
      if (toEngineError(error).code === "already_exists") return "exists";
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#requests.end();
    await this.#responses.return?.();
    this.#release();
  }

  async #call(action: WriteAction, fields: Partial<WriteContentRequest>): Promise<WriteContentResponse> {
    this.#requests.push({
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
    try {
      const { done, value } = await this.#responses.next();
      if (!done) return value;
    } catch (error) {
      this.#failed = true;
      throw error;
    }
    this.#failed = true;
    throw new EngineError("unavailable", `${this.#descriptor.digest}: the content store ended the write`);
  }
}
