import { EngineError, errorCode } from "@longshore/errors";
import { formatPlatform, hostPlatform } from "@longshore/oci";
import { canonicalName } from "@longshore/reference";
import type { Arguments } from "../cli/command.ts";
import {
  credentialsFor,
  imageArgument,
  platformArgument,
  registryOptions,
} from "../cli/registry-arguments.ts";
import type { Descriptor } from "../manifest.ts";
import { Repository } from "../registry/repository.ts";
import { descend, fetchManifest, resolve } from "../resolve.ts";

const CONFIG_LIMIT_BYTES = 4 << 20;

/** `inspect REF`: what the image is and what is in it, nothing of its layers being fetched. */
export async function inspectImage(args: Arguments, signal: AbortSignal): Promise<number> {
  const reference = imageArgument(args);
  const credentials = await credentialsFor(args, reference.domain, signal);
  const repository = new Repository(reference, credentials, registryOptions(args));
  const top = await resolve(repository, signal);
  const manifest = await descend(top, platformArgument(args) ?? hostPlatform(), (digest) =>
    fetchManifest(repository, digest, signal),
  );
  const { config, layers, annotations } = manifest.parsed;
  const show = {
    Name: canonicalName(reference),
    Digest: top.descriptor.digest,
    MediaType: top.descriptor.mediaType,
    Platforms: top.platforms.map(formatPlatform),
    Manifest: { Digest: manifest.descriptor.digest, MediaType: manifest.descriptor.mediaType },
    ...(annotations && { Annotations: annotations }),
    Layers: layers.map(({ mediaType, digest, size }) => ({
      MediaType: mediaType,
      Digest: digest,
      Size: size,
    })),
    Size: layers.reduce((sum, { size }) => sum + size, config.size),
    Config: await readConfig(repository, config, signal),
    RepoTags: await tagsOf(repository, signal),
    ...(repository.rateLimit && { RateLimit: repository.rateLimit }),
  };
  console.log(JSON.stringify(show, null, 2));
  return 0;
}

/** An image's config as it is; undefined when it is no JSON. @throws EngineError `data_loss` for other bytes than named */
export async function readConfig(
  repository: Repository,
  { digest, size }: Descriptor,
  signal: AbortSignal,
): Promise<unknown> {
  if (size > CONFIG_LIMIT_BYTES) {
    throw new EngineError(
      "resource_exhausted",
      `config ${digest} is longer than ${CONFIG_LIMIT_BYTES} bytes`,
    );
  }
  const { body } = await repository.blob(digest, {}, signal);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body) {
    length += part.length;
    if (length > size) break;
    parts.push(part);
  }
  const bytes = Buffer.concat(parts);
  const algorithm = digest.slice(0, digest.indexOf(":")) as Bun.SupportedCryptoAlgorithms;
  const actual = `${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest("hex")}`;
  if (length !== size || actual !== digest) {
    throw new EngineError(
      "data_loss",
      `config verification failed for digest ${digest}: the registry sent ${actual}`,
    );
  }
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined; // an artifact's config may be anything
  }
}

/** A registry need not tell them. */
async function tagsOf(repository: Repository, signal: AbortSignal): Promise<string[] | undefined> {
  try {
    return await repository.tags(signal);
  } catch (error) {
    signal.throwIfAborted();
    if (["not_found", "permission_denied", "unauthenticated", "unknown"].includes(errorCode(error)))
      return undefined;
    throw error;
  }
}
