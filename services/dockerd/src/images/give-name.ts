import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { toEngineError } from "@longshore/errors";
import type { ContainerdClient } from "../containerd/client.ts";
import { toTimestamp } from "../containerd/timestamp.ts";
import { DANGLING_PREFIX, type ImageStore } from "./image-store.ts";

/**
 * Make a name point to a manifest or index. The image that had it stays, nameless if it has no other.
 *
 * @returns what the name pointed to before, if that was something else
 */
export async function moveName(
  { containerd, images }: { containerd: ContainerdClient; images: ImageStore },
  name: string,
  target: Descriptor,
): Promise<Descriptor | undefined> {
  const before = (await images.get(name))?.target;
  if (before?.digest === target.digest) return undefined;
  await giveName(containerd, name, target);
  await dropDanglingName(containerd, target.digest);
  if (before) await keepNameless(containerd, images, before);
  return before;
}

/** Keep an image without a name, as long as no name refers to it. */
export async function keepNameless(
  containerd: ContainerdClient,
  images: ImageStore,
  target: Descriptor,
): Promise<void> {
  const named = await images.list();
  if (named.some(({ targets }) => targets.includes(target.digest))) return;
  await giveName(containerd, `${DANGLING_PREFIX}${target.digest}`, target);
}

async function giveName(containerd: ContainerdClient, name: string, target: Descriptor): Promise<void> {
  const now = toTimestamp(new Date());
  const image = { name, labels: {}, target, createdAt: now, updatedAt: now };
  try {
    await containerd.images.create({ image, sourceDateEpoch: undefined });
  } catch (error) {
    if (toEngineError(error).code !== "already_exists") throw error;
    await containerd.images.update({ image, updateMask: ["target"], sourceDateEpoch: undefined });
  }
}

/** An image with a name needs none of those that stand for no name. */
async function dropDanglingName(containerd: ContainerdClient, digest: string): Promise<void> {
  try {
    await containerd.images.delete({ name: `${DANGLING_PREFIX}${digest}`, sync: false });
  } catch (error) {
    if (toEngineError(error).code !== "not_found") throw error;
  }
}
