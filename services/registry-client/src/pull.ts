import { EngineError, errorCode } from "@longshore/errors";
import type { Platform } from "@longshore/oci";
import { familiarName, type Reference } from "@longshore/reference";
import { AsyncQueue } from "./async-queue.ts";
import type { BlobFetcher, BlobProgress } from "./blob-fetcher.ts";
import type { ContentStore } from "./content-store.ts";
import { gcLabels, type Labels, sourceLabel } from "./labels.ts";
import type { Descriptor } from "./manifest.ts";
import { isConfig } from "./media-types.ts";
import { rateLimited } from "./progress.ts";
import type { Credentials } from "./registry/credentials.ts";
import type { RateLimit } from "./registry/rate-limit.ts";
import { MANIFEST_LIMIT_BYTES, Repository } from "./registry/repository.ts";
import type { RegistryOptions } from "./registry/session.ts";
import { descend, type FetchedManifest, fetchManifest, verified, wantedOf } from "./resolve.ts";
import type { DownloadLimits } from "./transfers.ts";

export interface Image {
  /** What the name points to: a manifest or an index. */
  readonly target: Descriptor;
  /** The manifest for the platform; the same as `target` when that is a manifest. */
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  /** Bottom layer first. */
  readonly layers: readonly Descriptor[];
  /** What builders say of it, which the index has beside it. */
  readonly attestations: readonly Descriptor[];
}

export type PullEvent =
  | { readonly kind: "resolved"; readonly image: Image; readonly rateLimit?: RateLimit | undefined }
  | { readonly kind: "progress"; readonly progress: BlobProgress }
  | { readonly kind: "done"; readonly target: Descriptor };

export interface PullJob {
  reference: Reference;
  platform: Platform;
  credentials: Credentials;
  store: ContentStore;
}

export interface PullDeps {
  blobs: BlobFetcher;
  registry: RegistryOptions;
  /** Left out: as usual. */
  limits?: DownloadLimits;
}

/** No image's config is longer; whoever reads it has it in memory. */
export const CONFIG_LIMIT_BYTES = 8 << 20;

/** Image configs that are no Docker or OCI ones, but that old tools gave images. */
const OLD_CONFIG_TYPES = ["application/octet-stream", "application/json", ""];

/**
 * Fetch one platform of an image into the content store. The image is told as soon as it is known, progress of each blob at
 * most every 100 ms and at each change of state.
 */
export async function* pull(job: PullJob, deps: PullDeps, signal: AbortSignal): AsyncGenerator<PullEvent> {
  const repository = new Repository(job.reference, job.credentials, deps.registry);
  const image = await resolveImage(job, repository, signal);
  yield { kind: "resolved", image, rateLimit: repository.rateLimit };

  const events = new AsyncQueue<PullEvent>();
  // The first failure stops the others, and so does a consumer that goes away.
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  const report = rateLimited<BlobProgress>("downloading", (progress) =>
    events.push({ kind: "progress", progress }),
  );
  const wanted = [image.config, ...image.layers, ...image.attestations];
  const blobs = [...new Map(wanted.map((blob) => [blob.digest, blob])).values()];
  const all = Promise.all(
    blobs.map(async (descriptor) => {
      try {
        const blob = { descriptor, repository, store: job.store, report, limits: deps.limits };
        await deps.blobs.fetch(blob, abort.signal);
      } catch (error) {
        abort.abort(error);
        throw error;
      }
    }),
  ).then(
    () => events.end(),
    (error: unknown) => events.end(error),
  );
  try {
    yield* events;
  } finally {
    abort.abort(new EngineError("canceled", "the pull was cancelled"));
    signal.removeEventListener("abort", onAbort);
    await all;
  }
  yield { kind: "done", target: image.target };
}

async function resolveImage(job: PullJob, repository: Repository, signal: AbortSignal): Promise<Image> {
  const { reference, platform, store } = job;
  const stored = (wanted: string) => storedManifest(repository, wanted, store, signal);
  const top = await stored(wantedOf(reference));
  const { descriptor, parsed } = await descend(top, platform, stored);
  const { config, layers } = parsed;
  if (!isConfig(config.mediaType) && !OLD_CONFIG_TYPES.includes(config.mediaType)) {
    throw new EngineError(
      "invalid_argument",
      `${familiarName(reference)} is not an image: encountered remote ${JSON.stringify(config.mediaType)} when fetching`,
    );
  }
  if (config.size > CONFIG_LIMIT_BYTES) {
    throw new EngineError(
      "resource_exhausted",
      `${familiarName(reference)}: its config would have ${config.size} bytes, and the limit is ${CONFIG_LIMIT_BYTES}`,
    );
  }
  const attestations = await attestationsOf(top, descriptor.digest, stored);
  return { target: top.descriptor, manifest: descriptor, config, layers, attestations };
}

/**
 * The statements about a manifest that its index has, as BuildKit puts them there.
 * @see BuildKit, `docs/attestations/attestation-storage.md`
 */
async function attestationsOf(
  { parsed }: FetchedManifest,
  digest: string,
  stored: (wanted: string) => Promise<FetchedManifest>,
): Promise<readonly Descriptor[]> {
  if (parsed.kind !== "index") return [];
  const entry = parsed.manifests.find(({ annotations = {} }) => {
    const isOne = annotations["vnd.docker.reference.type"] === "attestation-manifest";
    return isOne && annotations["vnd.docker.reference.digest"] === digest;
  });
  if (!entry) return [];
  try {
    const { parsed: manifest } = await stored(entry.digest);
    return manifest.kind === "manifest" ? [manifest.config, ...manifest.layers] : [];
  } catch (error) {
    if (errorCode(error) === "not_found") return []; // a copy that was made of the images alone
    throw error;
  }
}

/** A manifest from the store, or from the registry and then in the store, with its labels. */
async function storedManifest(
  repository: Repository,
  wanted: string,
  store: ContentStore,
  signal: AbortSignal,
): Promise<FetchedManifest> {
  // By HEAD, which registries don't count as a pull, we learn whether the content store has it already.
  const digest = (await repository.head(wanted, signal)) ?? "";
  const held = digest && (await heldManifest(repository, { wanted, digest }, store, signal));
  if (held) return held;
  const fetched = await fetchManifest(repository, wanted, signal);
  const { domain, path } = repository.reference;
  const labels = { ...gcLabels(fetched.parsed), ...sourceLabel(domain, path) };
  if ((await storeManifest(fetched, labels, store, signal)) === "exists") {
    const labelsFor = (held: Labels) => ({ ...labels, ...sourceLabel(domain, path, held) });
    await store.adopt(fetched.descriptor.digest, labelsFor, signal);
  }
  return fetched;
}

/** Undefined when the store lacks it, or when its collector takes it while we look: without a lease it may. */
async function heldManifest(
  repository: Repository,
  { wanted, digest }: { wanted: string; digest: string },
  store: ContentStore,
  signal: AbortSignal,
): Promise<FetchedManifest | undefined> {
  const { domain, path } = repository.reference;
  if (!(await store.adopt(digest, (labels) => sourceLabel(domain, path, labels), signal))) return undefined;
  try {
    const bytes = await store.read(digest, MANIFEST_LIMIT_BYTES, signal);
    const held = verified(wanted, { bytes, contentType: "", digest });
    return (await store.adopt(digest, () => gcLabels(held.parsed), signal)) ? held : undefined;
  } catch (error) {
    if (errorCode(error) === "not_found") return undefined;
    throw error;
  }
}

async function storeManifest(
  { descriptor, bytes }: FetchedManifest,
  labels: Labels,
  store: ContentStore,
  signal: AbortSignal,
): Promise<"committed" | "exists"> {
  const ingest = await store.ingest(descriptor, signal);
  if (ingest === "exists") return "exists";
  try {
    if (ingest.offset < bytes.length) await ingest.write(bytes.subarray(ingest.offset));
    return await ingest.commit(labels);
  } catch (error) {
    await ingest.close();
    await store.abort(descriptor);
    throw error;
  } finally {
    await ingest.close();
  }
}
