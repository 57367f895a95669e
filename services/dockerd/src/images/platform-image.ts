import { EngineError } from "@longshore/errors";
import { formatPlatform, type Platform } from "@longshore/oci";
import { familiarString, parseReference } from "@longshore/reference";
import type { Engine } from "../engine.ts";
import type { Image } from "./image.ts";
import type { FoundImage } from "./image-store.ts";
import { type FullDescriptor, imageOf, manifestsOf } from "./manifests.ts";

/** One platform's image of those that a name stands for. */
export interface PlatformImage {
  image: Image;
  /** Of its manifest. */
  descriptor: FullDescriptor;
}

/**
 * Of what a name stands for, the image of a platform.
 *
 * @param wanted the first of these that is here
 * @param shown how the error names it
 * @throws EngineError `not_found` in Docker's words when it isn't here
 */
export async function platformImage(
  engine: Engine,
  { target }: Pick<FoundImage, "target">,
  wanted: readonly [Platform, ...Platform[]],
  shown: string,
): Promise<PlatformImage> {
  const entries = await manifestsOf(engine.containerd, target);
  for (const platform of wanted) {
    const entry = imageOf(entries, platform);
    if (entry?.image) return { image: entry.image, descriptor: entry.descriptor };
  }
  throw platformNotFound(shown, wanted[0]);
}

/** Docker's 404 for a platform that isn't among those that a name stands for. */
export function platformNotFound(shown: string, platform: Platform): EngineError {
  return new EngineError(
    "not_found",
    `image with reference ${shown} was found but does not provide the specified platform (${formatPlatform(platform)})`,
  );
}

/** How an image that was found is named in errors: with its tag, or as it was asked for. */
export function shownName({ name }: Pick<FoundImage, "name">, nameOrId: string): string {
  return name === undefined ? nameOrId : familiarString(parseReference(name));
}
