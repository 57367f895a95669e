import crypto from "node:crypto";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import type { Timestamp } from "@longshore/api/google/protobuf/timestamp";
import type { ImageConfig } from "./image-config.ts";

/** One platform of an image, read from the content store. */
export interface Image {
  /** Digest of the image's config. */
  id: string;
  manifestDigest: string;
  config: ImageConfig;
  /** Bottom first, as the manifest has them. */
  layers: Descriptor[];
  /** `chainIds[i]` names the snapshot with layers 0 to i. */
  chainIds: string[];
  /** Bytes of manifest, config and layers in the content store. */
  contentBytes: number;
}

/** An image as users see it: the same id may have many names. */
export interface NamedImage {
  image: Image;
  /** containerd's names of it, canonical: `docker.io/library/busybox:latest`. */
  names: string[];
  /** What its names point to: a manifest or an index, each once, in the order of the names. */
  targets: Descriptor[];
  /** When the newest of its names came to point there. */
  namedAt: Timestamp | undefined;
}

/**
 * Names of the snapshots that a stack of layers unpacks to.
 * @see OCI image specification, `config.md`, "Layer ChainID"
 */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(
      parent === undefined
        ? diffId
        : `sha256:${crypto.createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`,
    );
  }
  return chain;
}
