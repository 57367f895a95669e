import { EngineError } from "@longshore/errors";
import { choosePlatform, hostPlatform, type Platform } from "@longshore/oci";
import type { Reference } from "@longshore/reference";
import { AsyncQueue } from "./async-queue.ts";
import type { ImageSource } from "./image-source.ts";
import type { Descriptor, ImageIndex } from "./manifest.ts";
import { isNondistributable } from "./media-types.ts";
import { rateLimited } from "./progress.ts";
import { addReferrer } from "./push-referrers.ts";
import type { Credentials } from "./registry/credentials.ts";
import { Repository } from "./registry/repository.ts";
import type { RegistryOptions } from "./registry/session.ts";
import { BlobUploader } from "./registry/uploads.ts";
import { type FetchedManifest, INDEX_DEPTH, wantedOf } from "./resolve.ts";
import { Semaphore } from "./semaphore.ts";

export type PushState = "preparing" | "waiting" | "uploading" | "complete" | "exists" | "mounted" | "skipped";

export interface PushProgress {
  readonly digest: string;
  readonly state: PushState;
  readonly offset: number;
  readonly total: number;
  /** The repository that it was mounted from. */
  readonly mountedFrom?: string;
}

export type PushEvent =
  | { readonly kind: "plan"; readonly target: Descriptor; readonly blobs: readonly Descriptor[] }
  | { readonly kind: "progress"; readonly progress: PushProgress }
  | { readonly kind: "done"; readonly target: Descriptor };

export interface PushJob {
  /** Where to: with a tag, or with the digest of the target. */
  reference: Reference;
  credentials: Credentials;
  /** What to push: a manifest or an index. */
  target: Descriptor;
  source: ImageSource;
  /** Of an index, only this platform's image. */
  platform?: Platform | undefined;
  /** Push layers as well that usually may not be. */
  nondistributable?: boolean;
  /** Blobs that are sent at once, together with other pushes; left out: a few of its own. */
  slots?: Semaphore | undefined;
}

/** As Docker has it. */
const PARALLEL = 5;

/**
 * Put an image into a repository: blobs first, then manifests from the leaves up, at last the one with the name. Of an index of which
 * only some images are at the source, only the host's image is pushed, in its stead.
 *
 * @throws EngineError `not_found` when parts of it are missing at the source
 */
export async function* push(
  job: PushJob,
  registry: RegistryOptions,
  signal: AbortSignal,
): AsyncGenerator<PushEvent> {
  const repository = new Repository(job.reference, job.credentials, registry);
  const plan = await makePlan(job, signal);
  yield { kind: "plan", target: plan.target.descriptor, blobs: plan.blobs };

  const events = new AsyncQueue<PushEvent>();
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  const report = rateLimited<PushProgress>("uploading", (progress) =>
    events.push({ kind: "progress", progress }),
  );
  const all = pushAll({ job, plan, repository, report }, abort).then(
    () => events.end(),
    (error: unknown) => events.end(error),
  );
  try {
    yield* events;
  } finally {
    abort.abort(new EngineError("canceled", "the push was cancelled"));
    signal.removeEventListener("abort", onAbort);
    await all;
  }
  yield { kind: "done", target: plan.target.descriptor };
}

interface Plan {
  readonly target: FetchedManifest;
  /** Each once, in the order of the manifests. */
  readonly blobs: readonly Descriptor[];
  /** Leaves first, the target last. */
  readonly manifests: readonly FetchedManifest[];
}

async function pushAll(
  {
    job,
    plan,
    repository,
    report,
  }: { job: PushJob; plan: Plan; repository: Repository; report: (progress: PushProgress) => void },
  abort: AbortController,
): Promise<void> {
  const { signal } = abort;
  const uploader = new BlobUploader(repository.session, job.reference);
  const slots = job.slots ?? new Semaphore(PARALLEL);
  const at = ({ digest, size }: Descriptor, state: PushState, offset = 0) =>
    report({ digest, state, offset, total: size });
  for (const blob of plan.blobs) at(blob, "preparing");
  const pushBlob = async (blob: Descriptor): Promise<void> => {
    if (isNondistributable(blob.mediaType) && !job.nondistributable) return at(blob, "skipped");
    at(blob, "waiting");
    using _slot = await slots.acquire(signal);
    const result = await uploader.upload(job.source.blob(blob), {
      mountFrom: await job.source.repositories(blob.digest, job.reference.domain, signal),
      onProgress: (offset) => at(blob, "uploading", offset),
      signal,
    });
    if (result.kind === "mounted") {
      report({
        digest: blob.digest,
        state: "mounted",
        offset: 0,
        total: blob.size,
        mountedFrom: result.from,
      });
    } else at(blob, result.kind === "exists" ? "exists" : "complete", blob.size);
  };
  try {
    await Promise.all(
      plan.blobs.map((blob) =>
        pushBlob(blob).catch((error: unknown) => {
          abort.abort(error); // the others stop as well
          throw error;
        }),
      ),
    );
    for (const manifest of plan.manifests) {
      const isTarget = manifest === plan.target;
      const name = isTarget && !job.reference.digest ? wantedOf(job.reference) : manifest.descriptor.digest;
      const { bytes, descriptor } = manifest;
      const { listsReferrers } = await repository.putManifest(
        name,
        { bytes, mediaType: descriptor.mediaType },
        signal,
      );
      if (manifest.parsed.subject && !listsReferrers) await addReferrer(repository, manifest, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

async function makePlan({ target, source, platform }: PushJob, signal: AbortSignal): Promise<Plan> {
  const manifests: FetchedManifest[] = [];
  const blobs = new Map<string, Descriptor>();
  const read = async (descriptor: Descriptor): Promise<FetchedManifest> => {
    const found = await source.manifest(descriptor, signal);
    if (found) return found;
    throw missing(descriptor);
  };
  const add = async (manifest: FetchedManifest, depth: number): Promise<void> => {
    if (depth > INDEX_DEPTH) {
      throw new EngineError("invalid_argument", `indexes nested deeper than ${INDEX_DEPTH}`);
    }
    if (manifest.parsed.kind === "index") {
      for (const entry of manifest.parsed.manifests) await add(await read(entry), depth + 1);
    } else {
      for (const blob of [manifest.parsed.config, ...manifest.parsed.layers]) blobs.set(blob.digest, blob);
    }
    if (!manifests.some(({ descriptor }) => descriptor.digest === manifest.descriptor.digest))
      manifests.push(manifest);
  };
  let top = await read(target);
  for (let depth = 0; top.parsed.kind === "index" && depth < INDEX_DEPTH; depth += 1) {
    const wanted = platform ?? ((await isComplete(top.parsed, source, signal)) ? undefined : hostPlatform());
    if (!wanted) break;
    top = await read(choosePlatform(top.parsed.manifests, wanted));
  }
  await add(top, 0);
  for (const blob of blobs.values()) {
    if (!isNondistributable(blob.mediaType) && !(await source.has(blob, signal))) throw missing(blob);
  }
  return { target: top, blobs: [...blobs.values()], manifests };
}

/** Whether all images of an index are at the source: their manifests and what those name. */
async function isComplete(index: ImageIndex, source: ImageSource, signal: AbortSignal): Promise<boolean> {
  for (const entry of index.manifests) {
    const manifest = await source.manifest(entry, signal);
    if (!manifest) return false;
    const { parsed } = manifest;
    if (parsed.kind === "index") {
      if (!(await isComplete(parsed, source, signal))) return false;
      continue;
    }
    for (const blob of [parsed.config, ...parsed.layers]) {
      if (!isNondistributable(blob.mediaType) && !(await source.has(blob, signal))) return false;
    }
  }
  return true;
}

function missing({ digest }: Descriptor): EngineError {
  return new EngineError("not_found", `content digest ${digest}: not found`);
}
