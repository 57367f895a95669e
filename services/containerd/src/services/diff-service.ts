import fs from "node:fs";
import type {
  ApplyRequest,
  DiffDefinition,
  DiffRequest,
} from "@longshore/api/containerd/services/diff/v1/diff";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import type { ProgressDiffDefinition } from "@longshore/api/longshore/diff/v1/diff";
import { compressionOf, type SizeLimits } from "@longshore/archive";
import { isDigest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { ContentMetadata } from "../metadata/content-metadata.ts";
import { type Scope, scopeOf } from "../metadata/scope.ts";
import type { DiffProcesses } from "./diff-process.ts";
import { openForUnpacking, unpackTarget } from "./unpack-job.ts";

const LAYER = "application/vnd.oci.image.layer.v1.tar";
const UNCOMPRESSED_LABEL = "containerd.io/uncompressed";

/** gRPC: layers to files and back. */
export function diffHandlers(deps: DiffDeps): Handlers<typeof DiffDefinition> {
  return {
    async apply(request, context) {
      return { applied: await apply(deps, scopeOf(context), request, context) };
    },
    async diff(request, context) {
      return { diff: await create(deps.content, deps.packers, scopeOf(context), request, context.signal) };
    },
  };
}

/** gRPC: the same with progress. */
export function progressDiffHandlers(deps: DiffDeps): Handlers<typeof ProgressDiffDefinition> {
  return {
    async *apply(request, context) {
      let offset = -1n;
      let news = Promise.withResolvers<void>();
      const applying = apply(deps, scopeOf(context), request, {
        signal: context.signal,
        onOffset(bytes) {
          offset = BigInt(bytes);
          news.resolve();
        },
      });
      let applied: Descriptor | undefined;
      const done = applying.then((descriptor) => {
        applied = descriptor;
      });
      let told = -1n;
      while (!applied) {
        await Promise.race([news.promise, done]);
        news = Promise.withResolvers();
        if (offset === told) continue;
        told = offset;
        yield { event: { $case: "offset", value: told } };
      }
      yield { event: { $case: "applied", value: applied } };
    },
  };
}

interface DiffDeps {
  content: ContentMetadata;
  /** They make layers. */
  packers: DiffProcesses;
  /** They unpack layers. */
  unpackers: DiffProcesses;
  limits: SizeLimits;
}

async function apply(
  { content, unpackers, limits }: DiffDeps,
  scope: Scope,
  { diff, mounts, payloads, syncFs }: ApplyRequest,
  { signal, onOffset }: { signal: AbortSignal; onOffset?: (offset: number) => void },
): Promise<Descriptor> {
  if (!diff || !isDigest(diff.digest)) {
    throw new EngineError(
      "invalid_argument",
      `no layer named: ${JSON.stringify(diff?.digest ?? "")}: invalid argument`,
    );
  }
  const [payload] = Object.keys(payloads);
  if (payload !== undefined) {
    throw new EngineError("unimplemented", `no stream processor for ${payload}: not implemented`);
  }
  const compression = compressionOf(diff.mediaType);
  using _ = content.hold(scope, diff.digest);
  const { labels } = await content.info(scope, diff.digest);
  const file = content.backend.blobPath(diff.digest);
  const progress = onOffset !== undefined;
  const target = unpackTarget(mounts);
  const descriptors = openForUnpacking(file, target);
  const job = { compression, into: target.into, sync: syncFs, limits, progress } as const;
  const { digest, size } = await unpackers
    .run({ ...job, descriptors: descriptors.length }, { descriptors, signal }, onOffset)
    .finally(() => {
      for (const fd of descriptors) fs.closeSync(fd);
    });
  if (digest !== diff.digest && labels[UNCOMPRESSED_LABEL] !== digest) {
    const paths = [`labels.${UNCOMPRESSED_LABEL}`];
    await content.update(scope, diff.digest, { [UNCOMPRESSED_LABEL]: digest }, paths);
  }
  return { mediaType: LAYER, digest, size: BigInt(size), annotations: {} };
}

/** Make a layer of what upper has and lower has not, and put it into the content store. */
async function create(
  content: ContentMetadata,
  packers: DiffProcesses,
  scope: Scope,
  request: DiffRequest,
  signal: AbortSignal,
): Promise<Descriptor> {
  const mediaType = request.mediaType || `${LAYER}+gzip`;
  const compression = CREATED[mediaType];
  if (compression === undefined) {
    throw new EngineError("unimplemented", `unsupported diff media type: ${mediaType}: not implemented`);
  }
  const ref = request.ref || `diff-${crypto.randomUUID()}`;
  const output = await content.emptyIngest(scope, ref);
  try {
    const epoch = request.sourceDateEpoch;
    const { digest: diffId } = await packers.run(
      {
        lower: request.left,
        upper: request.right,
        compression,
        output,
        ...(epoch ? { notAfterSeconds: Number(epoch.seconds) } : {}),
      },
      { signal },
    );
    const labels: Record<string, string> = { ...request.labels };
    if (compression !== "none") labels[UNCOMPRESSED_LABEL] = diffId;
    const { digest, size } = await commitIngest(content, scope, ref, labels);
    return { mediaType, digest, size: BigInt(size), annotations: {} };
  } catch (error) {
    await content.abort(scope, ref).catch(() => {});
    throw error;
  }
}

const CREATED: Readonly<Record<string, "none" | "gzip" | "zstd">> = {
  [LAYER]: "none",
  [`${LAYER}+gzip`]: "gzip",
  [`${LAYER}+zstd`]: "zstd",
};

/** The same layer may be there already: then it gets the labels it lacks. */
async function commitIngest(
  content: ContentMetadata,
  scope: Scope,
  ref: string,
  labels: Record<string, string>,
): Promise<{ digest: string; size: number }> {
  const writer = await content.writer(scope, { ref, total: 0 });
  const digest = writer.digest();
  try {
    return await writer.commit(0, undefined, labels);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "already_exists") throw error;
    const info = await content.info(scope, digest);
    await content.update(scope, digest, { ...labels, ...info.labels }, []);
    return info;
  } finally {
    await writer.close();
  }
}
