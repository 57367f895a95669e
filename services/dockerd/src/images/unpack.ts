import crypto from "node:crypto";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError, errorCode } from "@longshore/errors";
import { type ContainerdClient, SNAPSHOTTER } from "../containerd/client.ts";
import { BlobWriter } from "./blob-writer.ts";
import { LAYER_TYPES } from "./compose-image.ts";
import type { Image } from "./image.ts";
import { initKey, initLayer } from "./init-layer.ts";

export interface UnpackOptions {
  /** containerd lease that keeps the new snapshots until the image refers to them. */
  lease: string;
  /** Resolves when the blob of layer `index` is in the content store. */
  layerReady?: (index: number) => Promise<void>;
  onLayer?: (index: number, state: "extracting" | "complete" | "exists") => void;
}

/** Turns images into stacks of committed snapshots; the same layer is never unpacked twice at a time. */
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
    const lease = `unpack-${crypto.randomUUID()}`;
    await this.containerd.leases.create({ id: lease, labels: {} });
    try {
      await this.unpack(image, { lease });
      await this.protect(image);
    } finally {
      await this.containerd.leases.delete({ id: lease, sync: false });
    }
  }

  async unpack(image: Image, { lease, layerReady, onLayer }: UnpackOptions): Promise<void> {
    for (const [index, chainId] of image.chainIds.entries()) {
      if (await this.exists(chainId)) {
        onLayer?.(index, "exists");
        continue;
      }
      await layerReady?.(index);
      onLayer?.(index, "extracting");
      await this.once(chainId, () => this.apply(image, index, lease));
      onLayer?.(index, "complete");
    }
    const init = initKey(image);
    if (!(await this.exists(init))) await this.once(init, () => this.applyInit(image, lease));
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

  private async exists(chainId: string): Promise<boolean> {
    if (this.known.has(chainId)) return true;
    try {
      await this.containerd.snapshots.stat({ snapshotter: SNAPSHOTTER, key: chainId });
      this.known.add(chainId);
      return true;
    } catch (error) {
      if (errorCode(error) === "not_found") return false;
      throw error;
    }
  }

  private async once(chainId: string, work: () => Promise<unknown>): Promise<void> {
    const running = this.running.get(chainId) ?? work();
    this.running.set(chainId, running);
    try {
      await running;
      this.known.add(chainId);
    } finally {
      this.running.delete(chainId);
    }
  }

  private async applyInit(image: Image, lease: string): Promise<void> {
    using writer = new BlobWriter(this.containerd, lease);
    const layer = await writer.document(LAYER_TYPES.none, initLayer());
    await this.applyLayer(layer, image.chainIds.at(-1) ?? "", lease, () => initKey(image));
  }

  private apply(image: Image, index: number, lease: string): Promise<unknown> {
    const diffId = image.config.rootfs.diff_ids[index] ?? "";
    return this.applyLayer(image.layers[index], image.chainIds[index - 1] ?? "", lease, (applied) => {
      if (applied === diffId) return image.chainIds[index] ?? "";
      const message = `wrong diff id calculated on extraction ${applied}, expected ${diffId}`;
      throw new EngineError("data_loss", message);
    });
  }

  /**
   * Make the snapshot of a bottom layer of which only the blob is known.
   * @returns its diff id, which is the snapshot's name as well
   */
  applyBottom(layer: Descriptor, lease: string): Promise<string> {
    return this.applyLayer(layer, "", lease, (diffId) => diffId);
  }

  /** @param nameFor the snapshot's name, from the layer's diff id */
  private async applyLayer(
    layer: Descriptor | undefined,
    parent: string,
    lease: string,
    nameFor: (diffId: string) => string,
  ): Promise<string> {
    const { snapshots, diff } = this.containerd;
    const metadata = { "containerd-lease": lease };
    const key = `extract-${crypto.randomUUID()} ${layer?.digest ?? ""}`;
    const { mounts } = await snapshots.prepare(
      { snapshotter: SNAPSHOTTER, key, parent, labels: {} },
      { metadata },
    );
    let committed = false;
    let diffId = "";
    try {
      const { applied } = await diff.apply(
        { diff: layer, mounts, payloads: {}, syncFs: false },
        { metadata },
      );
      diffId = applied?.digest ?? "";
      await snapshots.commit(
        { snapshotter: SNAPSHOTTER, name: nameFor(diffId), key, labels: {}, parent: "" },
        { metadata },
      );
      committed = true;
    } catch (error) {
      if (errorCode(error) !== "already_exists") throw error; // someone else was faster
    } finally {
      if (!committed) await snapshots.remove({ snapshotter: SNAPSHOTTER, key });
    }
    return diffId;
  }
}
