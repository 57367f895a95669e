import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { familiarString, parseReference } from "@longshore/reference";
import type { Arguments } from "../cli/command.ts";
import { credentialsFor, registryOptions } from "../cli/registry-arguments.ts";
import { Repository } from "../registry/repository.ts";
import { resolve } from "../resolve.ts";

/** `delete REF`: the manifest that a tag points to, by its digest, as registries want it. */
export async function deleteImage(args: Arguments, signal: AbortSignal): Promise<number> {
  // No tag is added: nobody shall lose what he did not name.
  const reference = parseReference(args.positional(0));
  if (reference.tag === undefined && reference.digest === undefined) {
    throw new UsageError(`delete wants a tag or a digest: ${args.positional(0)}`);
  }
  const credentials = await credentialsFor(args, reference.domain, signal);
  const repository = new Repository(reference, credentials, registryOptions(args));
  const digest = reference.digest ?? (await resolve(repository, signal)).descriptor.digest;
  await repository.deleteManifest(digest, signal);
  if (await isThere(repository, digest, signal)) {
    throw new EngineError("unknown", `${familiarString(reference)} is still there after its deletion`);
  }
  console.log(digest);
  return 0;
}

async function isThere(repository: Repository, digest: string, signal: AbortSignal): Promise<boolean> {
  return (await repository.head(digest, signal)) !== undefined;
}
