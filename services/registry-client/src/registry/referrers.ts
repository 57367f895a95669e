import { type Descriptor, parseManifest } from "../manifest.ts";
import { OCI_INDEX } from "../media-types.ts";

/** A manifest that refers to another one by its `subject`: a signature, a bill of materials. */
export interface Referrer extends Descriptor {
  /** Empty when the list does not say. */
  readonly artifactType: string;
}

/** The tag under which clients list the referrers of a digest where the registry can't. */
export function referrersTagOf(digest: string): string {
  const [algorithm = "", encoded = ""] = digest.split(":");
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`;
}

/** @throws EngineError `invalid_argument` for what is no index */
export function parseReferrers(bytes: Uint8Array): Referrer[] {
  const parsed = parseManifest(bytes, OCI_INDEX);
  return parsed.kind === "index"
    ? parsed.manifests.map(({ artifactType = "", platform: _, ...entry }) => ({ ...entry, artifactType }))
    : [];
}

/** The index that stands under that tag. */
export function formatReferrers(referrers: readonly Referrer[]): Buffer<ArrayBuffer> {
  const manifests = referrers.map(({ artifactType, ...descriptor }) => ({
    ...descriptor,
    ...(artifactType && { artifactType }),
  }));
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}
