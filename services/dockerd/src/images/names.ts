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
    for (const target of reference.digest === undefined ? targets : [reference.digest]) {
      digests.add(`${familiarName(reference)}@${target}`);
    }
  }
  return { tags, digests: [...digests] };
}
