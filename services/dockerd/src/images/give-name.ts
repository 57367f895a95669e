import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { errorCode } from "@longshore/errors";
import { DANGLING_PREFIX, type ImageStore } from "./image-store.ts";

/**
 * Make a name point to a manifest or index. The image that had it stays, nameless if it has no other.
 *
 * @returns what the name pointed to before, if that was something else
 */
export async function moveName(
  images: ImageStore,
  name: string,
  target: Descriptor,
): Promise<Descriptor | undefined> {
  const before = (await images.get(name))?.target;
  if (before?.digest === target.digest) return undefined;
  await images.setName(name, target);
  await dropDanglingName(images, target.digest);
  if (before) await keepNameless(images, before);
  return before;
}

/** Keep an image without a name, as long as no name refers to it. */
export async function keepNameless(images: ImageStore, target: Descriptor): Promise<void> {
  const named = await images.list();
  if (named.some(({ targets }) => targets.includes(target.digest))) return;
  await images.setName(`${DANGLING_PREFIX}${target.digest}`, target);
}

/** An image with a name needs none of those that stand for no name. */
async function dropDanglingName(images: ImageStore, digest: string): Promise<void> {
  try {
    await images.dropName(`${DANGLING_PREFIX}${digest}`, { collect: false });
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
  }
}
