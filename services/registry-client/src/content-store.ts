import { ContentDefinition, type Info } from "@longshore/api/containerd/services/content/v1/content";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { EngineError, toEngineError } from "@longshore/errors";
import { type ClientOf, createClient } from "@longshore/rpc";
import { collectNowAndThen } from "./collect.ts";
import type { ContainerdChannels } from "./containerd-channels.ts";
import { type Ingest, openIngest } from "./ingest.ts";
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
      collectNowAndThen(data.length);
    }
  }

  /**
   * Start or go on writing a blob; `exists` when the store has it. Waits while somebody else writes the same one.
   */
  async ingest(descriptor: Descriptor, signal: AbortSignal): Promise<Ingest | "exists"> {
    const ref = ingestRef(descriptor);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await openIngest(this.#channels, { ref, descriptor, metadata: this.#metadata, signal });
      } catch (error) {
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
