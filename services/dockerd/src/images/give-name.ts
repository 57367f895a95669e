import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { errorCode } from "@longshore/errors";
import type { Image } from "./image.ts";
import { chosenOf, DANGLING_PREFIX, type ImageStore } from "./image-store.ts";

/**
 * Make a name point to a manifest or index, of which one image is meant. The image that had it stays, nameless if it has no other.
 *
 * @returns what had the name before, if that was another image
 */
export async function moveName(
  images: ImageStore,
  name: string,
  target: Descriptor,
  image: Image,
): Promise<Image | undefined> {
  const before = await images.get(name);
  const isSame = before?.target?.digest === target.digest && chosenOf(before) === image.manifestDigest;
  if (isSame) return undefined;
  const read = before && (await readOrNone(images, chosenOf(before)));
  const old = read?.id === image.id ? undefined : read;
  // Before it has no name: what has none may be collected at any time.
  if (old && !(await hasOtherName(images, old, name))) await giveNoName(images, old);
  await images.setName(name, target, image.manifestDigest);
  await dropDanglingNames(images, [target.digest, image.manifestDigest]);
  return old;
}

async function hasOtherName(images: ImageStore, { id }: Image, name: string): Promise<boolean> {
  return (await images.list()).some(
    ({ image, names }) => image.id === id && names.some((other) => other !== name),
  );
}

/** Keep an image without a name, as long as no name refers to it. */
export async function keepNameless(images: ImageStore, image: Image): Promise<void> {
  if ((await images.list()).some((named) => named.image.id === image.id)) return;
  await giveNoName(images, image);
}

/** Keep an image once its names are gone. */
export async function giveNoName(images: ImageStore, image: Image): Promise<void> {
  const target = await images.manifestOf(image);
  await images.setName(`${DANGLING_PREFIX}${target.digest}`, target, target.digest);
}

/** @returns undefined for what isn't whole here */
async function readOrNone(images: ImageStore, digest: string): Promise<Image | undefined> {
  try {
    return await images.read(digest);
  } catch (error) {
    if (["not_found", "data_loss"].includes(errorCode(error))) return undefined;
    throw error;
  }
}

/** An image with a name needs none of those that stand for no name. */
async function dropDanglingNames(images: ImageStore, digests: readonly string[]): Promise<void> {
  for (const digest of new Set(digests)) {
    try {
      await images.dropName(`${DANGLING_PREFIX}${digest}`, { collect: false });
    } catch (error) {
      if (errorCode(error) !== "not_found") throw error;
    }
  }
}
