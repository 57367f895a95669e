import { UsageError } from "@longshore/cli";
import { EngineError, errorCode } from "@longshore/errors";
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
import { type FetchedManifest, fetchManifest, resolve, resolvePlatform } from "../resolve.ts";
import { readConfig } from "./inspect.ts";

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

/** Exit code of `manifest --all` for a name that nothing is known of. */
const NOT_FOUND = 3;

/** `manifest REF`: the bytes as they are, so that their digest can be checked. */
export async function printManifest(args: Arguments, signal: AbortSignal): Promise<number> {
  const reference = imageArgument(args);
  const repository = new Repository(
    reference,
    await credentialsFor(args, reference.domain, signal),
    registryOptions(args),
  );
  const platform = platformArgument(args);
  if (args.flag("all")) {
    if (platform) throw new UsageError("--all and --platform don't go together");
    return printAll(repository, signal);
  }
  const { bytes } = platform
    ? await resolvePlatform(repository, platform, signal)
    : await resolve(repository, signal);
  await Bun.write(Bun.stdout, bytes);
  return 0;
}

/** A line for what the name points to, and for an index one for each of its manifests. */
async function printAll(repository: Repository, signal: AbortSignal): Promise<number> {
  let top: FetchedManifest;
  try {
    top = await resolve(repository, signal);
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
    console.error(`registry-client: ${error instanceof EngineError ? error.message : String(error)}`);
    return NOT_FOUND;
  }
  const entries = top.parsed.kind === "index" ? top.parsed.manifests : [];
  console.log(JSON.stringify(await lineOf(top, repository, signal)));
  for (const { digest } of entries) {
    console.log(
      JSON.stringify(await lineOf(await fetchManifest(repository, digest, signal), repository, signal)),
    );
  }
  return 0;
}

async function lineOf(
  { descriptor, bytes, parsed }: FetchedManifest,
  repository: Repository,
  signal: AbortSignal,
) {
  const config = parsed.kind === "manifest" ? await readConfig(repository, parsed.config, signal) : undefined;
  return { ...descriptor, raw: bytes.toString("base64"), ...(config !== undefined && { config }) };
}
