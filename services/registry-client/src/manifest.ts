import { EngineError } from "@longshore/errors";
import type { Platform } from "@longshore/oci";
import { checkDigest } from "@longshore/reference";
import { isIndex, isManifest, isSchema1, OCI_INDEX, OCI_MANIFEST } from "./media-types.ts";

/** Type, digest and size in bytes of something in a registry. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Where else a layer may be had that registries may not hold. */
  readonly urls?: readonly string[];
}

export interface ImageManifest {
  readonly kind: "manifest";
  readonly mediaType: string;
  readonly config: Descriptor;
  /** Bottom layer first. */
  readonly layers: readonly Descriptor[];
  /** What it is about, if it is about another manifest. */
  readonly subject?: Descriptor;
  /** Empty when it is none. */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ImageIndex {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly IndexEntry[];
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface IndexEntry extends Descriptor {
  readonly platform?: Platform;
  readonly artifactType?: string;
}

/**
 * Parse a manifest or an index as a registry sent it.
 *
 * @param contentType of the answer; empty when the registry named none
 * @throws EngineError `invalid_argument` for schema 1, for a body that is neither or both, and for malformed descriptors
 */
export function parseManifest(bytes: Uint8Array, contentType: string): ImageManifest | ImageIndex {
  if (isSchema1(contentType)) throw schema1();
  const body = parseJson(bytes);
  if (body.schemaVersion === 1) throw schema1();
  const declared = typeof body.mediaType === "string" ? body.mediaType : "";
  if (isSchema1(declared)) throw schema1();
  const named = isManifest(contentType) || isIndex(contentType) ? contentType : "";
  if (declared && named && declared !== named) {
    throw invalid(`manifest says it is ${declared}, the registry says ${named}`);
  }
  // A body that reads as both could mean different images to different clients (GHSA-5j5w-g665-5m35).
  if (body.manifests !== undefined && (body.layers !== undefined || body.config !== undefined)) {
    throw invalid("ambiguous manifest: it has both manifests and layers");
  }
  const index = body.manifests !== undefined;
  const mediaType = declared || named || (index ? OCI_INDEX : OCI_MANIFEST);
  if (!(index ? isIndex(mediaType) : isManifest(mediaType))) {
    throw invalid(`unsupported manifest media type ${JSON.stringify(mediaType)}`);
  }
  const common = {
    mediaType,
    ...(body.subject !== undefined &&
      body.subject !== null && { subject: descriptor(body.subject, "subject") }),
    ...(typeof body.artifactType === "string" && { artifactType: body.artifactType }),
    ...annotationsOf(body.annotations, "manifest"),
  };
  if (index)
    return { kind: "index", ...common, manifests: list(body.manifests, "manifests").map(indexEntry) };
  return {
    kind: "manifest",
    ...common,
    config: descriptor(body.config, "config"),
    layers: list(body.layers, "layers").map((layer, i) => descriptor(layer, `layer ${i}`)),
  };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid("manifest is not JSON", error);
  }
  return record(body, "manifest");
}

function indexEntry(value: unknown, i: number): IndexEntry {
  const { platform, artifactType } = record(value, "index entry");
  const entry = {
    ...descriptor(value, `manifest ${i} of the index`),
    ...(typeof artifactType === "string" && { artifactType }),
  };
  if (platform === undefined || platform === null) return entry;
  const fields = record(platform, `platform ${i} of the index`);
  const text = (key: string) => (typeof fields[key] === "string" ? fields[key] : "");
  return {
    ...entry,
    platform: { os: text("os"), architecture: text("architecture"), variant: text("variant") },
  };
}

function descriptor(value: unknown, what: string): Descriptor {
  const { mediaType, digest, size, annotations, urls } = record(value, what);
  if (typeof mediaType !== "string") throw invalid(`${what} has no media type`);
  if (typeof digest !== "string") throw invalid(`${what} has no digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${what} has no valid size`);
  }
  return {
    ...{ mediaType, digest: checkDigest(digest), size },
    ...annotationsOf(annotations, what),
    ...(Array.isArray(urls) && urls.length > 0 && { urls: urls.map(String) }),
  };
}

function annotationsOf(value: unknown, what: string): { annotations?: Record<string, string> } {
  if (value === undefined || value === null) return {};
  const entries = Object.entries(record(value, `annotations of ${what}`));
  return { annotations: Object.fromEntries(entries.map(([key, text]) => [key, String(text)])) };
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw invalid(`manifest has no list of ${what}`);
  return value;
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(`${what} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

function schema1(): EngineError {
  return invalid(
    "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed.",
  );
}

function invalid(message: string, cause?: unknown): EngineError {
  return new EngineError("invalid_argument", message, { cause });
}
