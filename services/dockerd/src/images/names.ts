import { familiarName, familiarString, tryParseReference } from "@longshore/reference";
import type { NamedImage } from "./image.ts";
import { DANGLING_PREFIX } from "./image-store.ts";

export interface RepoNames {
  tags: string[];
  digests: string[];
}

/** `RepoTags` and `RepoDigests` of an image. */
export function repoNames({ names, targets }: NamedImage): RepoNames {
  const tags: string[] = [];
  const digests = new Set<string>();
  for (const name of names.filter((one) => !one.startsWith(DANGLING_PREFIX))) {
    const reference = tryParseReference(name);
    if (!reference) continue;
    if (reference.digest === undefined) tags.push(familiarString(reference));
    const own = reference.digest === undefined ? targets.map(({ digest }) => digest) : [reference.digest];
    for (const target of own) {
      digests.add(`${familiarName(reference)}@${target}`);
    }
  }
  return { tags, digests: [...digests] };
}
