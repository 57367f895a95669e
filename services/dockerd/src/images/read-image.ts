import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError, errorCode } from "@longshore/errors";
import {
  compatiblePlatforms,
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  type Platform,
} from "@longshore/oci";
import { z } from "zod";
import type { ContainerdClient } from "../containerd/client.ts";
import { chainIds, type Image } from "./image.ts";
import { type DescriptorJson, imageConfigSchema, manifestSchema } from "./image-config.ts";

const DOCUMENT_LIMIT_BYTES = 8 * 1024 * 1024;
const INDEX_DEPTH_MAX = 3;
/** overlayfs stacks 500 directories: an image's layers and the one between it and its containers. */
const LAYERS_MAX = 499;

/**
 * Read one platform of an image from the content store: of an index the host's, or else the first that is there.
 *
 * @throws EngineError `not_found` when a blob or the platform is missing, `data_loss` for a document that makes no sense
 */
export function readImage(containerd: ContainerdClient, target: string): Promise<Image> {
  return readPlatform(containerd, target, { depth: 0, tried: new Set() });
}

async function readPlatform(
  containerd: ContainerdClient,
  digest: string,
  { depth, tried }: { depth: number; tried: Set<string> },
): Promise<Image> {
  tried.add(digest);
  const bytes = await readBlob(containerd, digest);
  const manifest = parseDocument(digest, bytes, manifestSchema);
  if (!manifest.manifests) return readManifest(containerd, { digest, manifest, size: bytes.length });
  let failure: unknown;
  if (depth < INDEX_DEPTH_MAX) {
    for (const entry of byPreference(manifest.manifests)) {
      if (tried.has(entry.digest)) continue; // an index may list the same one again and again
      try {
        return await readPlatform(containerd, entry.digest, { depth: depth + 1, tried });
      } catch (error) {
        if (errorCode(error) !== "not_found") throw error;
        failure ??= error;
      }
    }
  }
  const message = `no matching manifest for ${formatPlatform(hostPlatform())} in the manifest list entries`;
  throw new EngineError("not_found", message, { cause: failure });
}

/** Entries of an index: those that run here, best first, then the others that are images. */
function byPreference(entries: readonly DescriptorJson[]): DescriptorJson[] {
  const preferred = compatiblePlatforms(hostPlatform()).map(formatPlatform);
  const rank = ({ platform }: DescriptorJson) => {
    const at = platform ? preferred.indexOf(formatPlatform(normalizePlatform(platformOf(platform)))) : -1;
    return at < 0 ? preferred.length : at;
  };
  return entries.filter(({ platform }) => platform?.os !== "unknown").sort((a, b) => rank(a) - rank(b));
}

/** A platform as documents have it. */
export function platformOf({
  os,
  architecture,
  variant,
}: {
  os: string;
  architecture: string;
  variant?: string | null | undefined;
}): Platform {
  return { os, architecture, variant: variant ?? "" };
}

interface FoundManifest {
  digest: string;
  manifest: z.output<typeof manifestSchema>;
  size: number;
}

async function readManifest(
  containerd: ContainerdClient,
  { digest, manifest, size }: FoundManifest,
): Promise<Image> {
  if (!manifest.config || !manifest.layers) {
    throw new EngineError("data_loss", `manifest ${digest} has no config or no layers`);
  }
  const config = await readDocument(containerd, manifest.config.digest, imageConfigSchema);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    throw new EngineError(
      "data_loss",
      `image ${manifest.config.digest} has ${diffIds.length} diff ids for ${manifest.layers.length} layers`,
    );
  }
  if (diffIds.length > LAYERS_MAX) {
    const message = `max depth exceeded: image ${manifest.config.digest} has ${diffIds.length} layers, and the limit is ${LAYERS_MAX}`;
    throw new EngineError("invalid_argument", message);
  }
  const layers = manifest.layers.map(toDescriptor);
  const layerBytes = manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
  return {
    id: manifest.config.digest,
    manifestDigest: digest,
    config,
    layers,
    chainIds: chainIds(diffIds),
    contentBytes: size + manifest.config.size + layerBytes,
  };
}

async function readDocument<T>(
  containerd: ContainerdClient,
  digest: string,
  schema: z.ZodType<T>,
): Promise<T> {
  return parseDocument(digest, await readBlob(containerd, digest), schema);
}

/** @throws EngineError `data_loss` */
export function parseDocument<T>(digest: string, bytes: Buffer, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(bytes.toString()));
  } catch (error) {
    const why = error instanceof z.ZodError ? firstIssue(error) : "";
    throw new EngineError("data_loss", `blob ${digest} is not a document of the kind expected${why}`, {
      cause: error,
    });
  }
}

/**
 * What is wrong first: `: config.Healthcheck.Interval: expected number, received string`. A key that
 * the document chose may be long or hold control characters: it is shown as `?`.
 */
function firstIssue({ issues: [first] }: z.ZodError): string {
  if (!first) return "";
  const keys = first.path.map(String).map((key) => (/^\w{1,64}$/.test(key) ? key : "?"));
  const message = first.message
    .replace(/^Invalid input: /, "")
    .replace("received undefined", "but it is missing");
  return [":", ...(keys.length > 0 ? [`${keys.join(".")}:`] : []), message].join(" ");
}

/** A whole small blob. */
export async function readBlob(containerd: ContainerdClient, digest: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const { data } of containerd.content.read({ digest, offset: 0n, size: 0n })) {
    size += data.length;
    if (size > DOCUMENT_LIMIT_BYTES)
      throw new EngineError("data_loss", `blob ${digest} is too large for a document`);
    chunks.push(data);
  }
  return Buffer.concat(chunks);
}

function toDescriptor({ mediaType, digest, size }: DescriptorJson): Descriptor {
  return { mediaType, digest, size: BigInt(size), annotations: {} };
}
