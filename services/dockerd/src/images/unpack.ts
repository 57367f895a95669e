import os from "node:os";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError, errorCode } from "@longshore/errors";
import { type ContainerdClient, SNAPSHOTTER } from "../containerd/client.ts";
import { withLease } from "../containerd/leases.ts";
import { BlobWriter } from "./blob-writer.ts";
import { LAYER_TYPES } from "./compose-image.ts";
import type { Image } from "./image.ts";
import { initKey, initLayer } from "./init-layer.ts";
import { canUnpackApart, type LayerOptions, type UnpackedLayer, unpackLayer } from "./layer-snapshots.ts";
import { Turns } from "./turns.ts";

/** Layers of one image that are unpacked at once: each takes a core, and containerd has no more than four workers. */
const LAYERS_AT_ONCE = Math.min(4, os.availableParallelism());

export interface UnpackOptions {
  /** containerd lease that keeps the new snapshots until the image refers to them. */
  lease: string;
  /** Gives it up; what is not whole is taken away. */
  signal?: AbortSignal;
  /** Resolves when the blob of layer `index` is in the content store. */
  layerReady?: (index: number) => Promise<void>;
  /** @param offset bytes of the layer's blob that have been unpacked */
  onLayer?: (index: number, state: LayerState, offset: number) => void;
}

/** `extracting` is told again and again, as it moves. */
export type LayerState = "extracting" | "complete" | "exists";

/** What is known while one layer is made. */
interface LayerJob extends LayerOptions {
  image: Image;
  index: number;
  /** The layer below; undefined when it is there. */
  below: Promise<void> | undefined;
  turns: Turns;
  signal: AbortSignal;
  extracting: (offset: number) => void;
}

/**
 * Turns images into stacks of committed snapshots; the same layer is never unpacked twice at a time. Layers are unpacked as their blobs
 * arrive, several at once, and committed bottom first. One that needs the files below it waits for them.
 */
export class Unpacker {
  private readonly containerd: ContainerdClient;
  private readonly running = new Map<string, Promise<unknown>>();
  private readonly known = new Set<string>();

  constructor(containerd: ContainerdClient) {
    this.containerd = containerd;
  }

  /** Make the snapshots of an image that aren't there yet. */
  async ensure(image: Image): Promise<void> {
    if (await this.exists(initKey(image))) return;
    await withLease(this.containerd, async (lease) => {
      await this.unpack(image, { lease });
      await this.protect(image);
    });
  }

  async unpack(image: Image, { lease, signal, layerReady, onLayer }: UnpackOptions): Promise<void> {
    const { chainIds } = image;
    const first = await this.firstMissing(chainIds, lease);
    for (let index = 0; index < first; index++) onLayer?.(index, "exists", 0);
    const apart = chainIds.length - first > 1 && (await canUnpackApart(this.containerd));
    const turns = new Turns(apart ? LAYERS_AT_ONCE : 1);
    const stop = new AbortController();
    const ended = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    const made: Promise<void>[] = [];
    const make = async (index: number, below: Promise<void> | undefined) => {
      if (!apart) await below;
      await unlessAborted(layerReady?.(index) ?? Promise.resolve(), ended);
      const extracting = (offset: number) => onLayer?.(index, "extracting", offset);
      const job = { image, index, below, lease, turns, extracting, signal: ended };
      await this.once(chainIds[index] ?? "", job, () => this.makeLayer(job));
      onLayer?.(index, "complete", Number(image.layers[index]?.size ?? 0n));
    };
    for (let index = first; index < chainIds.length; index++) {
      const layer = make(index, made.at(-1));
      layer.catch((error: unknown) => stop.abort(error));
      made.push(layer);
    }
    // Nothing may still be at work when the lease goes.
    await Promise.allSettled(made);
    if (stop.signal.aborted) throw stop.signal.reason;
    const init = initKey(image);
    if (!(await this.exists(init)))
      await this.once(init, { lease, signal: ended }, () => this.applyInit(image, lease));
  }

  /** Let the image's config keep the snapshots alive. */
  async protect(image: Image): Promise<void> {
    const label = `containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`;
    await this.containerd.content.update({
      info: {
        digest: image.id,
        size: 0n,
        createdAt: undefined,
        updatedAt: undefined,
        labels: { [label]: initKey(image) },
      },
      updateMask: [`labels.${label}`],
    });
  }

  /** Forget what is known of the snapshots: some may have been removed. */
  forget(): void {
    this.known.clear();
  }

  /**
   * Make the snapshot of a bottom layer of which only the blob is known.
   * @returns its diff id, which is the snapshot's name as well
   */
  async applyBottom(layer: Descriptor, lease: string): Promise<string> {
    await using unpacked = await unpackLayer(this.containerd, layer, "", { lease });
    await unpacked.commit(unpacked.diffId, "");
    return unpacked.diffId;
  }

  /** How many of the snapshots are there, bottom first, from now on under the lease. */
  private async firstMissing(chainIds: readonly string[], lease: string): Promise<number> {
    for (;;) {
      let first = 0;
      while (first < chainIds.length && (await this.exists(chainIds[first] ?? ""))) first++;
      if (first === 0 || (await this.hold(chainIds[first - 1] ?? "", lease))) return first;
      this.forget();
    }
  }

  private async exists(chainId: string): Promise<boolean> {
    return this.known.has(chainId) || this.isThere(chainId);
  }

  private async isThere(chainId: string): Promise<boolean> {
    try {
      await this.containerd.snapshots.stat({ snapshotter: SNAPSHOTTER, key: chainId });
      this.known.add(chainId);
      return true;
    } catch (error) {
      if (errorCode(error) === "not_found") return false;
      throw error;
    }
  }

  /** Put a snapshot under a lease, with all below it. @returns whether it is still there */
  private async hold(chainId: string, lease: string): Promise<boolean> {
    const resource = { id: chainId, type: `snapshots/${SNAPSHOTTER}` };
    await this.containerd.leases.addResource({ id: lease, resource });
    return this.isThere(chainId);
  }

  /** Do what makes a snapshot, or wait for somebody who is making it just now. */
  private async once(
    chainId: string,
    { lease, signal }: { lease: string; signal: AbortSignal },
    work: () => Promise<unknown>,
  ): Promise<void> {
    for (let other = this.running.get(chainId); other; other = this.running.get(chainId)) {
      const done = other.then(
        () => true,
        () => false, // given up perhaps, which says nothing about our attempt
      );
      if ((await unlessAborted(done, signal)) && (await this.hold(chainId, lease))) return;
    }
    const own = work();
    this.running.set(chainId, own);
    try {
      await own;
      this.known.add(chainId);
    } finally {
      this.running.delete(chainId);
    }
  }

  private async makeLayer(job: LayerJob): Promise<void> {
    const { image, index, below, signal } = job;
    const name = image.chainIds[index] ?? "";
    const parent = image.chainIds[index - 1] ?? "";
    const isParentThere = below === undefined || this.known.has(parent);
    const early = isParentThere ? await this.extract(job, parent) : await this.extractApart(job);
    await using first = early;
    if (below) await unlessAborted(below, signal);
    await using unpacked = first ?? (await this.extract(job, parent));
    await unpacked.commit(name, parent);
  }

  /** @returns undefined for a layer that needs those below it */
  private async extractApart(job: LayerJob): Promise<UnpackedLayer | undefined> {
    try {
      return await this.extract(job, "later");
    } catch (error) {
      if (errorCode(error) === "failed_precondition") return undefined;
      throw error;
    }
  }

  private async extract(job: LayerJob, parent: string | "later"): Promise<UnpackedLayer> {
    const { image, index, lease, signal, turns, extracting } = job;
    using _turn = await turns.take(index);
    signal.throwIfAborted();
    const layer = image.layers[index];
    const unpacked = await unpackLayer(this.containerd, layer, parent, {
      lease,
      signal,
      onOffset: extracting,
    });
    extracting(Number(layer?.size ?? 0n));
    const diffId = image.config.rootfs.diff_ids[index] ?? "";
    if (unpacked.diffId === diffId) return unpacked;
    await unpacked[Symbol.asyncDispose]();
    const message = `wrong diff id calculated on extraction ${unpacked.diffId}, expected ${diffId}`;
    throw new EngineError("data_loss", message);
  }

  private async applyInit(image: Image, lease: string): Promise<void> {
    using writer = new BlobWriter(this.containerd, lease);
    const layer = await writer.document(LAYER_TYPES.none, initLayer());
    const parent = image.chainIds.at(-1) ?? "";
    await using unpacked = await unpackLayer(this.containerd, layer, parent, { lease });
    await unpacked.commit(initKey(image), parent);
  }
}

/** Wait for something, but no longer than until a signal. */
async function unlessAborted<T>(wanted: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  wanted.catch(() => {}); // whoever is to hear of it does so elsewhere
  try {
    return await Promise.race([wanted, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
