import type { Descriptor, ImageIndex, ImageManifest } from "./manifest.ts";
import { isConfig, isLayer, isManifest } from "./media-types.ts";

export type Labels = Record<string, string>;

/** containerd refuses a label whose key and value are longer than this together. */
const LABEL_LENGTH_MAX = 4096;

/**
 * The labels by which containerd's garbage collector finds what a manifest or an index refers to.
 * @see containerd `core/images/mediatypes.go`, `ChildGCLabels`
 */
export function gcLabels(manifest: ImageManifest | ImageIndex): Labels {
  const children: readonly Descriptor[] =
    manifest.kind === "index" ? manifest.manifests : [manifest.config, ...manifest.layers];
  const counts = new Map<string, number>();
  const labels: Labels = {};
  for (const child of children) {
    const prefix = labelPrefix(child.mediaType);
    const index = counts.get(prefix) ?? 0;
    counts.set(prefix, index + 1);
    const key = index > 0 || prefix.endsWith(".") ? `${prefix}${index}` : prefix;
    labels[key] = child.digest;
  }
  return labels;
}

function labelPrefix(mediaType: string): string {
  if (isConfig(mediaType)) return "containerd.io/gc.ref.content.config";
  if (isManifest(mediaType)) return "containerd.io/gc.ref.content.m.";
  if (isLayer(mediaType)) return "containerd.io/gc.ref.content.l.";
  return "containerd.io/gc.ref.content.";
}

/**
 * The label that tells which repositories of a host hold a blob, added to what it says already.
 * @param domain as in a reference; the label's key has no port
 */
export function sourceLabel(domain: string, path: string, existing: Labels = {}): Labels {
  const key = sourceKey(domain);
  const repositories = new Set(repositoriesOf(domain, existing)).add(path);
  const value = [...repositories].sort().join(",");
  return key.length + value.length > LABEL_LENGTH_MAX ? {} : { [key]: value };
}

/** The repositories of a host that hold a blob, by that label. */
export function repositoriesOf(domain: string, labels: Labels): string[] {
  return (labels[sourceKey(domain)] ?? "").split(",").filter(Boolean);
}

function sourceKey(domain: string): string {
  const host = domain.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return `containerd.io/distribution.source.${host}`;
}

/** Of the wanted labels, those that are missing or differ. */
export function missingLabels(wanted: Labels, existing: Labels): Labels {
  return Object.fromEntries(Object.entries(wanted).filter(([key, value]) => existing[key] !== value));
}
