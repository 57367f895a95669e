import type { Credentials } from "@longshore/api/longshore/registry/v1/registry";
import { EngineError } from "@longshore/errors";
import type { Platform } from "@longshore/oci";
import {
  canonicalString,
  familiarName,
  familiarString,
  type Reference,
  withDefaultTag,
  withTag,
} from "@longshore/reference";
import type { Engine } from "../engine.ts";
import { emitImageEvent } from "./image-events.ts";
import { type PullOptions, registryFailure } from "./pull.ts";
import type { ProgressLine } from "./pull-progress.ts";

export interface PullAllOptions {
  /** Without tag and digest. */
  repository: Reference;
  /** Undefined means the host's. */
  platform: Platform | undefined;
  credentials: Credentials | undefined;
  signal: AbortSignal;
  progress: (line: ProgressLine) => void;
}

/** Pull an image, and tell of it. @throws EngineError as `PullService.pull` */
export async function pullOne(engine: Engine, options: PullOptions): Promise<void> {
  const image = await engine.pulls.pull(options);
  const { reference } = options;
  emitImageEvent(engine, image, "pull", {
    actor: familiarString(reference),
    name: familiarName(reference),
  });
}

/**
 * Pull every tag of a repository, one after the other; the first that fails ends it.
 *
 * @throws EngineError of the registry, `not_found` for a repository without tags
 */
export async function pullAllTags(
  engine: Engine,
  { repository, platform, credentials, signal, progress }: PullAllOptions,
): Promise<void> {
  const { client, hosts } = engine.registry;
  const request = { reference: canonicalString(withDefaultTag(repository)), credentials, hosts: hosts() };
  const { tags } = await client.listTags(request, { signal }).catch((error: unknown) => {
    throw registryFailure(error);
  });
  if (tags.length === 0) throw new EngineError("not_found", `${familiarName(repository)} has no tags`);
  for (const tag of tags) {
    await pullOne(engine, { reference: withTag(repository, tag), platform, credentials, signal, progress });
  }
}
