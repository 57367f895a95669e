import { errorCode } from "@longshore/errors";
import { reclaimKept } from "../containerd/leases.ts";
import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { type Deleted, deleteImage } from "./delete-image.ts";
import type { Image } from "./image.ts";
import { imageSize } from "./list-images.ts";
import { repoNames } from "./names.ts";

export const PRUNE_FILTERS = ["dangling", "label", "label!", "until"] as const;

/** Remove images that no container uses: the nameless ones, or with `dangling=false` all. */
export async function pruneImages(engine: Engine, filters: Filters): Promise<object> {
  const onlyDangling = filters.boolean("dangling") ?? true;
  const until = filters.until();
  const used = new Set(engine.containers.list().map(({ record }) => record.imageId));
  const deleted: Deleted[] = [];
  let reclaimed = 0;
  for (const named of await engine.images.list()) {
    const { image } = named;
    const labels = image.config.config?.Labels ?? {};
    if (used.has(image.id)) continue;
    if (onlyDangling && repoNames(named).tags.length > 0) continue;
    if (until !== undefined && BigInt(Date.parse(image.config.created ?? "") || 0) * 1_000_000n > until)
      continue;
    if (!filters.matchLabels(labels)) continue;
    if (filters.has("label!") && filters.matchLabels(labels, "label!")) continue;
    const size = await unsharedSize(engine, image);
    try {
      deleted.push(...(await deleteImage(engine, image.id, { force: true })));
      reclaimed += size;
    } catch (error) {
      if (!["not_found", "conflict"].includes(errorCode(error))) throw error; // gone or in use by now
    }
  }
  reclaimed += await reclaimKept(engine.containerd);
  engine.events.emit("image", "prune", "", { reclaimed: String(reclaimed) });
  return { ImagesDeleted: deleted.length > 0 ? deleted : null, SpaceReclaimed: reclaimed };
}

/** Bytes of the layers that no other image has: what its removal gives back. */
async function unsharedSize(engine: Engine, image: Image): Promise<number> {
  const others = (await engine.images.list()).filter((other) => other.image.id !== image.id);
  const kept = new Set(others.flatMap((other) => other.image.chainIds));
  const own = image.chainIds.filter((key) => !kept.has(key));
  const isWhole = own.length === image.chainIds.length;
  return imageSize(engine, { ...image, chainIds: own, contentBytes: isWhole ? image.contentBytes : 0 });
}
