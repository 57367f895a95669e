import { errorCode } from "@longshore/errors";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Engine } from "../engine.ts";
import { imageSize } from "../images/list-images.ts";
import type { ContainerRecord } from "./container.ts";

/** Bytes of a container's own layer, and of all that it sees. */
export async function containerSize(
  engine: Engine,
  record: ContainerRecord,
): Promise<{ SizeRw?: number; SizeRootFs: number }> {
  const own = await ownBytes(engine, record.id);
  const image = await engine.images.read(record.manifestDigest).then(
    (read) => imageSize(engine, read),
    () => 0, // the image's documents are gone
  );
  return { ...(own > 0 && { SizeRw: own }), SizeRootFs: image + own };
}

/** Bytes of what a container has changed. */
export async function ownBytes(engine: Engine, id: string): Promise<number> {
  try {
    return Number((await engine.containerd.snapshots.usage({ snapshotter: SNAPSHOTTER, key: id })).size);
  } catch (error) {
    if (errorCode(error) === "not_found") return 0;
    throw error;
  }
}
