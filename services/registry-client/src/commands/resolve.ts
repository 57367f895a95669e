import { formatPlatform } from "@longshore/oci";
import { canonicalString } from "@longshore/reference";
import type { Arguments } from "../cli/command.ts";
import {
  credentialsFor,
  imageArgument,
  platformArgument,
  registryOptions,
} from "../cli/registry-arguments.ts";
import { Repository } from "../registry/repository.ts";
import { resolve, resolvePlatform } from "../resolve.ts";

/** `resolve REF`: one JSON object on stdout. */
export async function resolveImage(args: Arguments, signal: AbortSignal): Promise<number> {
  const reference = imageArgument(args);
  const repository = new Repository(
    reference,
    await credentialsFor(args, reference.domain, signal),
    registryOptions(args),
  );
  const { descriptor, platforms } = await resolve(repository, signal);
  console.log(
    JSON.stringify({
      reference: canonicalString(reference),
      mediaType: descriptor.mediaType,
      digest: descriptor.digest,
      size: descriptor.size,
      platforms: platforms.map(formatPlatform),
      ...(repository.rateLimit && { rateLimit: repository.rateLimit }),
    }),
  );
  return 0;
}

/** `manifest REF`: the bytes as they are, so that their digest can be checked. */
export async function printManifest(args: Arguments, signal: AbortSignal): Promise<number> {
  const reference = imageArgument(args);
  const repository = new Repository(
    reference,
    await credentialsFor(args, reference.domain, signal),
    registryOptions(args),
  );
  const platform = platformArgument(args);
  const { bytes } = platform
    ? await resolvePlatform(repository, platform, signal)
    : await resolve(repository, signal);
  await Bun.write(Bun.stdout, bytes);
  return 0;
}
