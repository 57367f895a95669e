import type { DescriptorJson } from "./image-config.ts";

const CONFIG = /^application\/vnd\.(oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/;
const MANIFEST =
  /^application\/vnd\.(oci\.image\.(manifest|index)\.v1|docker\.distribution\.manifest(\.list)?\.v2)\+json$/;
const LAYER = /^application\/vnd\.(oci\.image\.layer\.|docker\.image\.rootfs\.)/;

/** Whether a media type is that of an image's layer. */
export function isLayer(mediaType: string): boolean {
  return LAYER.test(mediaType);
}

/**
 * The labels that let containerd's garbage collector find what a manifest or an index refers to.
 * @see containerd, `docs/garbage-collection.md`
 */
export function gcLabels(children: readonly DescriptorJson[]): Record<string, string> {
  const counts = new Map<string, number>();
  const labels: Record<string, string> = {};
  for (const { mediaType, digest } of children) {
    if (CONFIG.test(mediaType)) {
      labels["containerd.io/gc.ref.content.config"] = digest;
      continue;
    }
    const kind = MANIFEST.test(mediaType) ? "m." : isLayer(mediaType) ? "l." : "";
    const index = counts.get(kind) ?? 0;
    counts.set(kind, index + 1);
    labels[`containerd.io/gc.ref.content.${kind}${index}`] = digest;
  }
  return labels;
}
