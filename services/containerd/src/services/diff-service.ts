import type { ApplyRequest, DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { compressionOf } from "@longshore/archive";
import { isDigest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { ContentMetadata } from "../metadata/content-metadata.ts";
import { type Scope, scopeOf } from "../metadata/scope.ts";
import type { DiffProcesses } from "./diff-process.ts";

const LAYER = "application/vnd.oci.image.layer.v1.tar";
const UNCOMPRESSED_LABEL = "containerd.io/uncompressed";

/** gRPC: layers to files and back. */
export function diffHandlers(
  content: ContentMetadata,
  processes: DiffProcesses,
): Handlers<typeof DiffDefinition> {
  return {
    async apply(request, context) {
      return { applied: await apply(content, processes, scopeOf(context), request, context.signal) };
    },
    diff() {
      throw new EngineError("unimplemented", "diff: creating a layer is not supported: not implemented");
    },
  };
}

async function apply(
  content: ContentMetadata,
  processes: DiffProcesses,
  scope: Scope,
  { diff, mounts, payloads, syncFs }: ApplyRequest,
  signal: AbortSignal,
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
  const { labels } = await content.info(scope, diff.digest);
  const file = content.backend.blobPath(diff.digest);
  const job = { job: "apply", file, compression, mounts, sync: syncFs } as const;
  const { digest, size } = await processes.run(job, signal);
  if (labels[UNCOMPRESSED_LABEL] !== digest) {
    const paths = [`labels.${UNCOMPRESSED_LABEL}`];
    await content.update(scope, diff.digest, { [UNCOMPRESSED_LABEL]: digest }, paths);
  }
  return { mediaType: LAYER, digest, size: BigInt(size), annotations: {} };
}
