import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import type { BlobWriter } from "./blob-writer.ts";
import { gcLabels } from "./gc-labels.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";

/**
 * Write the manifest that binds a config and layers together.
 *
 * @param config the config's text, whose digest becomes the image's id
 * @param layers bottom first
 * @see OCI image specification, `manifest.md`
 */
export async function composeImage(
  writer: BlobWriter,
  config: string,
  layers: readonly Descriptor[],
): Promise<Descriptor> {
  const configDescriptor = await writer.document(CONFIG, config);
  const children = [configDescriptor, ...layers].map(({ mediaType, digest, size }) => ({
    mediaType,
    digest,
    size: Number(size),
  }));
  const [configJson, ...layersJson] = children;
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: configJson, layers: layersJson };
  return writer.document(MANIFEST, JSON.stringify(manifest), gcLabels(children));
}

/** Media types of layers, by how they are packed. */
export const LAYER_TYPES = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
} as const;
