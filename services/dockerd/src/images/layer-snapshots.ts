import crypto from "node:crypto";
import type { ApplyRequest } from "@longshore/api/containerd/services/diff/v1/diff";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError, errorCode } from "@longshore/errors";
import { type ContainerdClient, SNAPSHOTTER } from "../containerd/client.ts";
import { cleanUp, UNFINISHED } from "../containerd/leases.ts";

/** A capability of our containerd's overlayfs snapshotter: layers may be unpacked before those below them are there. */
const UNPACK_APART = "unpack-apart";

export interface LayerOptions {
  /** containerd lease that keeps what is made. */
  lease: string;
  /** Ends the unpacking. */
  signal?: AbortSignal | undefined;
  /** Told how many of the blob's bytes have been unpacked, where containerd says so. */
  onOffset?: ((offset: number) => void) | undefined;
}

/** A layer's files in a snapshot that is not committed yet; disposing of it takes them away, unless they were. */
export interface UnpackedLayer extends AsyncDisposable {
  /** Of the layer's uncompressed tar. */
  readonly diffId: string;
  /** @param parent the snapshot that it stands on; must be committed */
  commit(name: string, parent: string): Promise<void>;
}

/** Whether containerd can unpack a layer without those below it. */
export async function canUnpackApart({ introspection }: ContainerdClient): Promise<boolean> {
  const filters = [`type==io.containerd.snapshotter.v1,id==${SNAPSHOTTER}`];
  const { plugins } = await introspection.plugins({ filters });
  return plugins.some(({ capabilities }) => capabilities.includes(UNPACK_APART));
}

/**
 * Unpack a layer into a snapshot of its own.
 *
 * @param parent the snapshot below; `later`: it isn't there yet, and only `commit` will name it
 * @throws EngineError `failed_precondition` for a layer that can't be unpacked without those below it
 */
export async function unpackLayer(
  containerd: ContainerdClient,
  layer: Descriptor | undefined,
  parent: string | "later",
  { lease, signal, onOffset }: LayerOptions,
): Promise<UnpackedLayer> {
  const { snapshots } = containerd;
  const metadata = { "containerd-lease": lease };
  const key = `${UNFINISHED}${crypto.randomUUID()} ${layer?.digest ?? ""}`;
  const base = parent === "later" ? "" : parent;
  const remove = () => cleanUp(() => snapshots.remove({ snapshotter: SNAPSHOTTER, key }));
  let left = true;
  try {
    // Should containerd end in the middle of it, there may be a snapshot all the same.
    const prepared = await snapshots.prepare(
      { snapshotter: SNAPSHOTTER, key, parent: base, labels: {} },
      { metadata },
    );
    const mounts = parent === "later" ? prepared.mounts.map(upperOnly) : prepared.mounts;
    const request = { diff: layer, mounts, payloads: {}, syncFs: false };
    const applied = await applyLayer(containerd, request, { lease, signal, onOffset });
    return {
      diffId: applied?.digest ?? "",
      async commit(name, below) {
        const rebase = parent === "later" ? below : "";
        try {
          await snapshots.commit(
            { snapshotter: SNAPSHOTTER, name, key, labels: {}, parent: rebase },
            { metadata },
          );
          left = false;
        } catch (error) {
          if (errorCode(error) !== "already_exists") throw error; // someone else was faster
        }
      },
      async [Symbol.asyncDispose]() {
        if (left) await remove();
        left = false;
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Those that don't say how far they have come. */
const silent = new WeakSet<ContainerdClient>();

async function applyLayer(
  containerd: ContainerdClient,
  request: ApplyRequest,
  { lease, signal, onOffset }: LayerOptions,
): Promise<Descriptor | undefined> {
  const options = { metadata: { "containerd-lease": lease }, ...(signal && { signal }) };
  if (onOffset && !silent.has(containerd)) {
    try {
      for await (const { event } of containerd.progressDiff.apply(request, options)) {
        if (event?.$case === "applied") return event.value;
        if (event?.$case === "offset") onOffset(Number(event.value));
      }
      throw new EngineError("unavailable", "containerd ended the unpacking without an answer");
    } catch (error) {
      if (errorCode(error) !== "unimplemented") throw error;
      silent.add(containerd);
    }
  }
  return (await containerd.diff.apply(request, options)).applied;
}

/** The directory of a bottom snapshot as that of one which is to stand on others: deletions are kept as overlayfs has them. */
function upperOnly({ type, source, target }: Mount): Mount {
  if (type !== "bind") throw new EngineError("internal", `a snapshot without a parent is a ${type} mount`);
  return { type: "overlay", source: "overlay", target, options: [`upperdir=${source}`] };
}
