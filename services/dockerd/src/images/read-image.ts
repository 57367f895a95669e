import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError } from "@longshore/errors";
import type { z } from "zod";
import type { ContainerdClient } from "../containerd/client.ts";
import { chainIds, type Image } from "./image.ts";
import { type DescriptorJson, imageConfigSchema, manifestSchema } from "./image-config.ts";

const DOCUMENT_LIMIT_BYTES = 8 * 1024 * 1024;
const INDEX_DEPTH_MAX = 3;
/** overlayfs stacks 500 directories: an image's layers and the one between it and its containers. */
const LAYERS_MAX = 499;

/** This host in Go's names, which images use. */
export const HOST_PLATFORM = {
  os: "linux",
  architecture: process.arch === "x64" ? "amd64" : process.arch,
};

/**
 * Read the host's platform of an image from the content store.
 * @throws EngineError `not_found` when a blob or the platform is missing, `data_loss` for a document that makes no sense
 */
export async function readImage(containerd: ContainerdClient, target: string): Promise<Image> {
  const { digest, manifest, size } = await readManifest(containerd, target, 0);
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

async function readManifest(containerd: ContainerdClient, digest: string, depth: number) {
  const bytes = await readBlob(containerd, digest);
  const manifest = parseDocument(digest, bytes, manifestSchema);
  if (!manifest.manifests) return { digest, manifest, size: bytes.length };
  const match = manifest.manifests.find(isForHost);
  if (!match || depth === INDEX_DEPTH_MAX) {
    const { os, architecture } = HOST_PLATFORM;
    throw new EngineError(
      "not_found",
      `no matching manifest for ${os}/${architecture} in the manifest list entries`,
    );
  }
  return readManifest(containerd, match.digest, depth + 1);
}

function isForHost({ platform }: DescriptorJson): boolean {
  return platform?.os === HOST_PLATFORM.os && platform.architecture === HOST_PLATFORM.architecture;
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
    throw new EngineError("data_loss", `blob ${digest} is not a document of the kind expected`, {
      cause: error,
    });
  }
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
