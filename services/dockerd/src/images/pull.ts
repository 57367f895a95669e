import {
  type BlobProgress,
  BlobProgress_State,
  type Credentials,
  type Resolved,
} from "@longshore/api/longshore/registry/v1/registry";
import { EngineError, type ErrorCode, toEngineError } from "@longshore/errors";
import { type Platform, runsOn } from "@longshore/oci";
import { canonicalString, familiarString, type Reference } from "@longshore/reference";
import type { ContainerdClient } from "../containerd/client.ts";
import { withLease } from "../containerd/leases.ts";
import { moveName } from "./give-name.ts";
import type { Image } from "./image.ts";
import { chosenOf, type ImageStore, wrongPlatform } from "./image-store.ts";
import { type ProgressLine, PullProgress } from "./pull-progress.ts";
import { platformOf } from "./read-image.ts";
import type { RegistryService } from "./registry-service.ts";
import type { Unpacker } from "./unpack.ts";

export interface PullOptions {
  /** With tag or digest. */
  reference: Reference;
  /** Undefined means the host's. */
  platform: Platform | undefined;
  credentials: Credentials | undefined;
  signal: AbortSignal;
  /** Called with each progress line, in order. */
  progress: (line: ProgressLine) => void;
}

interface PullDeps {
  containerd: ContainerdClient;
  registry: RegistryService;
  images: ImageStore;
  unpacker: Unpacker;
}

/** A pull under way: everyone who asks for the same image meanwhile watches this one. */
interface SharedPull {
  history: ProgressLine[];
  watchers: Set<(line: ProgressLine) => void>;
  abort: AbortController;
  done: Promise<Image>;
}

/** Fetches images: registry-client brings the blobs, containerd unpacks them, and a name is given at the end. */
export class PullService {
  private readonly deps: PullDeps;
  private readonly running = new Map<string, SharedPull>();

  constructor(deps: PullDeps) {
    this.deps = deps;
  }

  /**
   * Pull an image, or join the pull of it that is under way. It is given up when all who watch have gone.
   * @throws EngineError of the registry, `canceled`, or of a blob or layer that isn't what it should be
   */
  async pull({ reference, platform, credentials, signal, progress }: PullOptions): Promise<Image> {
    if (platform && platform.os !== "linux") {
      const message = `image operating system ${JSON.stringify(platform.os)} cannot be used on this platform: operating system is not supported`;
      throw new EngineError("invalid_argument", message);
    }
    const key = JSON.stringify([canonicalString(reference), platform ?? null, credentials ?? null]);
    // One that was given up is on its way out, and nobody can join it.
    for (let other = this.running.get(key); other?.abort.signal.aborted; other = this.running.get(key)) {
      await other.done.catch(() => {});
    }
    signal.throwIfAborted();
    const shared = this.running.get(key) ?? this.begin(key, { reference, platform, credentials });
    for (const line of shared.history) progress(line);
    shared.watchers.add(progress);
    const leave = () => {
      shared.watchers.delete(progress);
      if (shared.watchers.size === 0)
        shared.abort.abort(new EngineError("canceled", "the pull was given up"));
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    try {
      return await shared.done;
    } finally {
      signal.removeEventListener("abort", leave);
      shared.watchers.delete(progress);
    }
  }

  private begin(key: string, wanted: Wanted): SharedPull {
    const abort = new AbortController();
    const history: ProgressLine[] = [];
    const watchers = new Set<(line: ProgressLine) => void>();
    const tell = (line: ProgressLine) => {
      // Who joins late is told how far it has come, not every step on the way.
      if (line.status === "Downloading" || line.status === "Extracting") {
        const last = history.findIndex(({ id, status }) => id === line.id && status === line.status);
        if (last >= 0) history.splice(last, 1);
      }
      history.push(line);
      for (const watcher of watchers) watcher(line);
    };
    const done = this.run(wanted, abort.signal, tell).finally(() => this.running.delete(key));
    const shared = { history, watchers, abort, done };
    this.running.set(key, shared);
    return shared;
  }

  private async run(wanted: Wanted, signal: AbortSignal, tell: (line: ProgressLine) => void): Promise<Image> {
    const { containerd, images } = this.deps;
    const { reference, platform } = wanted;
    await images.checkWritable();
    const name = canonicalString(reference);
    const work = async (lease: string) => {
      const before = await images.get(name);
      const known = before && chosenOf(before);
      const { image, target } = await this.fetch({ ...wanted, known, lease, signal, tell });
      await this.deps.unpacker.protect(image);
      await moveName(images, name, target, image);
      tell({ status: `Digest: ${target.digest}` });
      const held = [target.digest, image.manifestDigest];
      const newer = before?.target?.digest !== target.digest || !held.includes(known ?? "");
      const shown = familiarString(reference);
      tell({ status: `Status: ${newer ? "Downloaded newer image" : "Image is up to date"} for ${shown}` });
      if (platform && !runsOn(platformOf(image.config), platform)) {
        tell({ status: `WARNING: ${wrongPlatform(shown, image, platform).message}` });
      }
      return image;
    };
    return withLease(containerd, work, { resumes: name });
  }

  private async fetch({ reference, platform, known, credentials, lease, signal, tell }: FetchOptions) {
    const blobs = new BlobTracker();
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    const events = this.deps.registry.client.pull(
      {
        reference: canonicalString(reference),
        platform: platform && { ...platform, osVersion: "", osFeatures: [] },
        credentials,
        namespace: this.deps.containerd.namespace,
        lease,
        hosts: this.deps.registry.hosts(),
      },
      { signal: both },
    );
    let unpacked: Promise<Image> | undefined;
    let progress: PullProgress | undefined;
    let resolved: Resolved | undefined;
    try {
      for await (const { event } of events) {
        if (event?.$case === "resolved") {
          resolved = event.value;
          const tag = reference.digest ?? reference.tag ?? "latest";
          tell({ status: `Pulling from ${reference.path}`, id: tag });
          const held = [resolved.target?.digest, resolved.manifest?.digest];
          progress = new PullProgress(resolved.layers, known !== undefined && held.includes(known));
          for (const line of progress.start()) tell(line);
          unpacked = this.unpack({ resolved, blobs, progress, lease, signal, tell });
          unpacked.catch((error: unknown) => stop.abort(error)); // no use in fetching the rest
        } else if (event?.$case === "progress") {
          for (const line of progress?.blob(event.value) ?? []) tell(line);
          blobs.note(event.value);
        }
      }
    } catch (error) {
      blobs.fail(error);
      await unpacked?.catch(() => {}); // nothing may still be unpacking when the lease goes
      if (stop.signal.aborted) throw stop.signal.reason;
      if (signal.aborted) throw signal.reason;
      throw registryFailure(error);
    }
    if (!unpacked || !resolved?.target) {
      throw new EngineError("internal", "registry-client ended the pull without resolving it");
    }
    blobs.allPresent();
    return { image: await unpacked, target: resolved.target };
  }

  private async unpack({ resolved, blobs, progress, lease, signal, tell }: UnpackJob): Promise<Image> {
    // The manifest was there before anybody was told of it.
    await blobs.present(resolved.config?.digest ?? "");
    const image = await this.deps.images.read(resolved.manifest?.digest ?? "");
    await this.deps.unpacker.unpack(image, {
      lease,
      signal,
      layerReady: (index) => blobs.present(image.layers[index]?.digest ?? ""),
      onLayer: (index, state, offset) => {
        const layer = image.layers[index];
        if (!layer) return;
        for (const line of progress.layer(layer.digest, state, { offset, total: Number(layer.size) }))
          tell(line);
      },
    });
    return image;
  }
}

/** Codes of registry-client that a client is to see; anything else about a registry is no fault of the request. */
const TOLD: ErrorCode[] = ["not_found", "unauthenticated", "permission_denied", "canceled"];

export function registryFailure(error: unknown): EngineError {
  const { code, message } = toEngineError(error);
  const unreachable = message.startsWith("No connection established");
  const words = unreachable ? `registry-client is not running: ${message}` : message;
  return new EngineError(TOLD.includes(code) ? code : "internal", words, { cause: error });
}

/** What is to be pulled. */
type Wanted = Pick<PullOptions, "reference" | "platform" | "credentials">;

interface FetchOptions extends Wanted {
  /** Digest of the manifest or index that the name stood for before. */
  known: string | undefined;
  lease: string;
  signal: AbortSignal;
  tell: (line: ProgressLine) => void;
}

interface UnpackJob {
  resolved: Resolved;
  blobs: BlobTracker;
  progress: PullProgress;
  lease: string;
  signal: AbortSignal;
  tell: (line: ProgressLine) => void;
}

/** Which blobs are in the content store, for those who wait for one. */
class BlobTracker {
  private readonly here = new Set<string>();
  private readonly waiting = new Map<string, { resolve: () => void; reject: (error: unknown) => void }[]>();
  private complete = false;
  private failure: { error: unknown } | undefined;

  note({ digest, state }: BlobProgress): void {
    if (state !== BlobProgress_State.COMPLETE && state !== BlobProgress_State.EXISTS) return;
    this.here.add(digest);
    for (const { resolve } of this.waiting.get(digest) ?? []) resolve();
    this.waiting.delete(digest);
  }

  present(digest: string): Promise<void> {
    if (this.complete || this.here.has(digest)) return Promise.resolve();
    if (this.failure) return Promise.reject(this.failure.error);
    return new Promise((resolve, reject) => {
      this.waiting.set(digest, [...(this.waiting.get(digest) ?? []), { resolve, reject }]);
    });
  }

  allPresent(): void {
    this.complete = true;
    for (const { resolve } of [...this.waiting.values()].flat()) resolve();
    this.waiting.clear();
  }

  fail(error: unknown): void {
    this.failure = { error };
    for (const { reject } of [...this.waiting.values()].flat()) reject(error);
    this.waiting.clear();
  }
}
