import { EngineError } from "@longshore/errors";
import { choosePlatform, formatPlatform, normalizePlatform, type Platform } from "@longshore/oci";
import { type Reference, withDefaultTag } from "@longshore/reference";
import { type Descriptor, type ImageIndex, type ImageManifest, parseManifest } from "./manifest.ts";
import type { Repository } from "./registry/repository.ts";

/** A manifest or an index that has the digest it should have. */
export interface FetchedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer<ArrayBuffer>;
  readonly parsed: ImageManifest | ImageIndex;
}

/** Indexes within indexes, at most. */
export const INDEX_DEPTH = 3;

/** What a name points to in its registry, and the platforms that are there. */
export async function resolve(
  repository: Repository,
  signal: AbortSignal,
): Promise<FetchedManifest & { platforms: Platform[] }> {
  const fetched = await fetchManifest(repository, wantedOf(repository.reference), signal);
  const platforms =
    fetched.parsed.kind === "index"
      ? fetched.parsed.manifests.flatMap(({ platform }) => (platform ? [normalizePlatform(platform)] : []))
      : [];
  return { ...fetched, platforms };
}

/** The manifest for one platform: of an index its entry, through nested ones. */
export async function resolvePlatform(
  repository: Repository,
  platform: Platform,
  signal: AbortSignal,
): Promise<FetchedManifest & { parsed: ImageManifest }> {
  const fetch = (wanted: string) => fetchManifest(repository, wanted, signal);
  return descend(await fetch(wantedOf(repository.reference)), platform, fetch);
}

/**
 * From what a name points to down to the manifest for a platform.
 * @throws EngineError `not_found` in Docker's words where there is none, `data_loss` where an index lies about a size
 */
export async function descend(
  top: FetchedManifest,
  platform: Platform,
  fetch: (digest: string) => Promise<FetchedManifest>,
): Promise<FetchedManifest & { parsed: ImageManifest }> {
  let current = top;
  for (let depth = 0; current.parsed.kind === "index"; depth += 1) {
    if (depth >= INDEX_DEPTH)
      throw new EngineError("invalid_argument", `indexes nested deeper than ${INDEX_DEPTH}`);
    const entry = choosePlatform(current.parsed.manifests, platform);
    current = await fetch(entry.digest);
    if (current.descriptor.size !== entry.size) {
      throw new EngineError(
        "data_loss",
        `manifest ${entry.digest} has ${current.descriptor.size} bytes, its index (for ${formatPlatform(platform)}) says ${entry.size}`,
      );
    }
  }
  const { parsed } = current;
  return { ...current, parsed };
}

export async function fetchManifest(
  repository: Repository,
  wanted: string,
  signal: AbortSignal,
): Promise<FetchedManifest> {
  return verified(wanted, await repository.manifest(wanted, signal));
}

/** Check the digest that was asked for, or else the one that the registry claims. */
export function verified(
  wanted: string,
  { bytes, contentType, digest }: { bytes: Buffer<ArrayBuffer>; contentType: string; digest: string },
): FetchedManifest {
  const expected = wanted.includes(":") ? wanted : digest;
  const algorithm = expected.startsWith("sha512:")
    ? "sha512"
    : expected.startsWith("sha384:")
      ? "sha384"
      : "sha256";
  const actual = `${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest("hex")}`;
  if (expected && expected !== actual) {
    throw new EngineError(
      "data_loss",
      `manifest verification failed for digest ${expected}: the registry sent ${actual}`,
    );
  }
  const parsed = parseManifest(bytes, contentType);
  return { descriptor: { mediaType: parsed.mediaType, digest: actual, size: bytes.length }, bytes, parsed };
}

/** The digest of a reference, or else its tag. */
export function wantedOf(reference: Reference): string {
  const { digest, tag } = withDefaultTag(reference);
  return digest ?? tag ?? "latest";
}
