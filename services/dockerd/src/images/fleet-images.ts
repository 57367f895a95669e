import { familiarName, familiarString, tryParseReference } from "@longshore/reference";
import type { Engine } from "../engine.ts";
import { ENGINE_LABEL } from "../state/fleet.ts";
import { DANGLING_PREFIX } from "./image-store.ts";

interface FleetImage {
  Id: string;
  ParentId: "";
  RepoTags: string[];
  RepoDigests: string[];
  Created: number;
  Size: number;
  SharedSize: -1;
  Labels: Record<string, string>;
  Containers: -1;
}

/**
 * Images of other engines that share the store, in the form of `GET /images/json`; the size is that of the packed layers.
 *
 * @param engines hosts' names, engines' ids, `*`
 */
export async function fleetImages(engine: Engine, engines: readonly string[]): Promise<FleetImage[]> {
  if (engines.length === 0 || !engine.fleet) return [];
  const { fleet } = engine;
  const { others } = await fleet.meant(engines);
  const found = await Promise.all(
    others.map(async (other) => {
      const byId = new Map<string, FleetImage>();
      for (const { name, record } of await fleet.imageNames(other)) {
        const image: FleetImage = byId.get(record.imageId) ?? {
          Id: record.imageId,
          ParentId: "",
          RepoTags: [],
          RepoDigests: [],
          Created: Math.floor((Date.parse(record.created) || 0) / 1000),
          Size: record.sizeBytes,
          SharedSize: -1,
          Labels: { ...record.labels, [ENGINE_LABEL]: other.name },
          Containers: -1,
        };
        byId.set(record.imageId, image);
        const reference = tryParseReference(name);
        if (!reference || name.startsWith(DANGLING_PREFIX)) continue; // a nameless one
        if (reference.digest === undefined) image.RepoTags.push(familiarString(reference));
        image.RepoDigests.push(`${familiarName(reference)}@${record.target}`);
      }
      return [...byId.values()];
    }),
  );
  return found.flat();
}
