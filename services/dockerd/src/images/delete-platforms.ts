import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError, errorCode } from "@longshore/errors";
import { formatPlatform, type Platform } from "@longshore/oci";
import type { Engine } from "../engine.ts";
import { type Deleted, deleteImage } from "./delete-image.ts";
import { chosenOf, DANGLING_PREFIX } from "./image-store.ts";
import { findNamed, shortImageId } from "./inspect-image.ts";
import { imageOf, type ManifestEntry, manifestsOf } from "./manifests.ts";
import { platformNotFound, shownName } from "./platform-image.ts";

/**
 * Take away what is here of an image for some platforms; its names stay as long as another is here, and go with the last one.
 *
 * @returns what was done, in Docker's form
 * @throws EngineError `invalid_argument` without force, `not_found` for a platform that isn't here, `conflict` while it has another name
 */
export async function deletePlatforms(
  engine: Engine,
  nameOrId: string,
  platforms: readonly Platform[],
  { force }: { force: boolean },
): Promise<Deleted[]> {
  if (!force) {
    const message =
      "Content will be removed from all images referencing this variant. Use —-force to force delete.";
    throw new EngineError("invalid_argument", message);
  }
  const named = await findNamed(engine, nameOrId);
  const { target, image } = named;
  const deleted: Deleted[] = [];
  for (const platform of platforms) {
    const entries = await manifestsOf(engine.containerd, target);
    const entry = imageOf(entries, platform);
    if (!entry) {
      const message = platformNotFound(shownName(named, nameOrId), platform).message;
      throw new EngineError(
        "not_found",
        `failed to delete platform ${formatPlatform(platform)} for image ${image.id}: ${message}`,
      );
    }
    const others = entries.filter((other) => other !== entry && other.image !== undefined && other.isWhole);
    if (others.length === 0) return [...deleted, ...(await deleteImage(engine, nameOrId, { force }))];
    await deleteManifest(engine, target, entry, others);
    deleted.push({ Deleted: entry.descriptor.digest });
  }
  return deleted;
}

const isDangling = ({ name }: { name: string }) => name.startsWith(DANGLING_PREFIX);

/** What it refers to is containerd's to collect, unless something else does too. */
async function deleteManifest(
  engine: Engine,
  target: Descriptor,
  { descriptor: { digest }, image }: ManifestEntry,
  others: readonly ManifestEntry[],
): Promise<void> {
  const { images } = await engine.containerd.images.list({ filters: [] });
  const chosen = images.filter((held) => chosenOf(held) === digest);
  const [nameless, named] = [chosen.filter(isDangling), chosen.filter((held) => !isDangling(held))];
  if (named.some((held) => held.target?.digest !== target.digest)) {
    const message = `conflict: unable to delete ${shortImageId(image?.id ?? "")} (cannot be forced) - image is referenced in multiple repositories`;
    throw new EngineError("conflict", message);
  }
  const [next] = others;
  for (const { name } of named) await engine.images.setName(name, target, next?.descriptor.digest ?? "");
  for (const { name } of nameless) await engine.images.dropName(name, { collect: false });
  await engine.containerd.content.delete({ digest }).catch((error: unknown) => {
    if (errorCode(error) !== "not_found") throw error;
  });
  engine.images.forget(digest);
  engine.unpacker.forget();
}
