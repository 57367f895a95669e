import crypto from "node:crypto";
import { EngineError, errorCode } from "@longshore/errors";
import { type ContainerdClient, SNAPSHOTTER } from "../containerd/client.ts";
import type { Image } from "./image.ts";

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
  private readonly running = new Map<string, Promise<void>>();
  private readonly known = new Set<string>();

  constructor(containerd: ContainerdClient) {
    this.containerd = containerd;
  }

  /** Make the snapshots of an image that aren't there yet. */
  async ensure(image: Image): Promise<void> {
    const top = image.chainIds.at(-1);
    if (top === undefined || (await this.exists(top))) return;
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
        labels: { [label]: image.chainIds.at(-1) ?? "" },
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

  private async once(chainId: string, work: () => Promise<void>): Promise<void> {
    const running = this.running.get(chainId) ?? work();
    this.running.set(chainId, running);
    try {
      await running;
      this.known.add(chainId);
    } finally {
      this.running.delete(chainId);
    }
  }

  private async apply(image: Image, index: number, lease: string): Promise<void> {
    const { snapshots, diff } = this.containerd;
    const metadata = { "containerd-lease": lease };
    const chainId = image.chainIds[index] ?? "";
    const diffId = image.config.rootfs.diff_ids[index];
    const key = `extract-${crypto.randomUUID()} ${chainId}`;
    const { mounts } = await snapshots.prepare(
      { snapshotter: SNAPSHOTTER, key, parent: image.chainIds[index - 1] ?? "", labels: {} },
      { metadata },
    );
    let committed = false;
    try {
      const { applied } = await diff.apply(
        { diff: image.layers[index], mounts, payloads: {}, syncFs: false },
        { metadata },
      );
      if (applied?.digest !== diffId) {
        throw new EngineError(
          "data_loss",
          `wrong diff id calculated on extraction ${applied?.digest ?? ""}, expected ${diffId ?? ""}`,
        );
      }
      await snapshots.commit(
        { snapshotter: SNAPSHOTTER, name: chainId, key, labels: {}, parent: "" },
        { metadata },
      );
      committed = true;
    } catch (error) {
      if (errorCode(error) !== "already_exists") throw error; // someone else was faster
    } finally {
      if (!committed) await snapshots.remove({ snapshotter: SNAPSHOTTER, key });
    }
  }
}
