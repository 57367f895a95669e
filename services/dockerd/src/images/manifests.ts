import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { errorCode } from "@longshore/errors";
import { isPlatform, type Platform } from "@longshore/oci";
import { z } from "zod";
import type { ContainerdClient } from "../containerd/client.ts";
import { isLayer } from "./gc-labels.ts";
import type { Image } from "./image.ts";
import { descriptorSchema, manifestSchemaOf } from "./image-config.ts";
import { parseDocument, platformOf, readBlob, readImage } from "./read-image.ts";

const INDEX_DEPTH_MAX = 3;
/** Annotations by which an index says what a manifest tells of another. */
export const REFERENCE_TYPE = "vnd.docker.reference.type";
export const REFERENCE_DIGEST = "vnd.docker.reference.digest";

/** A descriptor with all that a document says of it. */
export const fullDescriptorSchema = descriptorSchema.extend({
  urls: z.array(z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  platform: descriptorSchema.shape.platform.unwrap().loose().optional(),
  artifactType: z.string().optional(),
});
export type FullDescriptor = z.output<typeof fullDescriptorSchema>;

const fullManifestSchema = manifestSchemaOf(fullDescriptorSchema);
export type FullManifest = z.output<typeof fullManifestSchema>;

/** One of the manifests that a name stands for, whether it is here or not. */
export interface ManifestEntry {
  descriptor: FullDescriptor;
  kind: "image" | "attestation" | "unknown";
  /** Undefined while it isn't here. */
  manifest: FullManifest | undefined;
  /** Undefined when it is none, or its config isn't here. */
  image: Image | undefined;
  /** Whether all that it refers to is here. */
  isWhole: boolean;
  /** Of the manifest and what it refers to, as far as that is here. */
  presentBytes: number;
  /** Digest of the manifest whose attestations it has. */
  attests: string | undefined;
}

/** A descriptor of containerd's, as JSON has it. */
export function descriptorJson({ mediaType, digest, size, annotations }: Descriptor): FullDescriptor {
  const isAnnotated = Object.keys(annotations).length > 0;
  return { mediaType, digest, size: Number(size), ...(isAnnotated && { annotations }) };
}

/**
 * The manifest that a name points to, or those of its index, in the index's order. An index below
 * another counts once: listed a thousand times on each of three levels, it would stand for 10^9
 * manifests.
 */
export function manifestsOf(containerd: ContainerdClient, target: Descriptor): Promise<ManifestEntry[]> {
  return entriesOf({ containerd, read: new Map(), listed: new Set() }, descriptorJson(target), 0);
}

/** What {@link entriesOf} has done so far. */
interface Walk {
  containerd: ContainerdClient;
  /** By digest: each manifest or index is read once, however often it is listed. */
  read: Map<string, Promise<FullManifest | undefined>>;
  /** Digests of the indexes whose entries are listed. */
  listed: Set<string>;
}

async function entriesOf(walk: Walk, descriptor: FullDescriptor, depth: number): Promise<ManifestEntry[]> {
  const { containerd, read, listed } = walk;
  const { digest } = descriptor;
  const reading = read.get(digest) ?? readManifest(containerd, digest);
  read.set(digest, reading);
  const manifest = await reading;
  if (!manifest?.manifests) return [await entryOf(containerd, descriptor, manifest)];
  if (depth >= INDEX_DEPTH_MAX || listed.has(digest)) return [];
  listed.add(digest);
  const below = manifest.manifests.map((entry) => entriesOf(walk, entry, depth + 1));
  return (await Promise.all(below)).flat();
}

async function entryOf(
  containerd: ContainerdClient,
  descriptor: FullDescriptor,
  manifest: FullManifest | undefined,
): Promise<ManifestEntry> {
  const kind = kindOf(descriptor, manifest);
  const leaves = manifest ? [...(manifest.config ? [manifest.config] : []), ...(manifest.layers ?? [])] : [];
  const present = await Promise.all(
    leaves.map(async (leaf) => ((await isHere(containerd, leaf.digest)) ? leaf.size : undefined)),
  );
  const bytes = present.reduce<number>((sum, size) => sum + (size ?? 0), manifest ? descriptor.size : 0);
  return {
    descriptor,
    kind,
    manifest,
    image: manifest && kind === "image" ? await orNone(readImage(containerd, descriptor.digest)) : undefined,
    isWhole: manifest !== undefined && !present.includes(undefined),
    presentBytes: bytes,
    attests: kind === "attestation" ? descriptor.annotations?.[REFERENCE_DIGEST] : undefined,
  };
}

/** What isn't here yet is taken for an image, unless its index says otherwise. */
function kindOf(
  { annotations = {}, platform }: FullDescriptor,
  manifest: FullManifest | undefined,
): ManifestEntry["kind"] {
  if (REFERENCE_TYPE in annotations) return REFERENCE_DIGEST in annotations ? "attestation" : "unknown";
  if (platform?.os === "unknown" && platform.architecture === "unknown") return "unknown";
  const { layers = [] } = manifest ?? {};
  return layers.length === 0 || layers.some(({ mediaType }) => isLayer(mediaType)) ? "image" : "unknown";
}

/** A manifest or index; undefined while it isn't here. */
export function readManifest(
  containerd: ContainerdClient,
  digest: string,
): Promise<FullManifest | undefined> {
  const read = async () => parseDocument(digest, await readBlob(containerd, digest), fullManifestSchema);
  return orNone(read());
}

async function isHere(containerd: ContainerdClient, digest: string): Promise<boolean> {
  return (await orNone(containerd.content.info({ digest }))) !== undefined;
}

/** Undefined for what isn't here, and for what this engine can't use. */
async function orNone<T>(wanted: Promise<T>): Promise<T | undefined> {
  try {
    return await wanted;
  } catch (error) {
    if (["not_found", "data_loss", "invalid_argument"].includes(errorCode(error))) return undefined;
    throw error;
  }
}

/** What an entry's programs are for: as its index has it, or else its config. */
export function entryPlatform({ descriptor, image }: ManifestEntry): Platform | undefined {
  const said = descriptor.platform ?? image?.config;
  return said && platformOf(said);
}

/** Digests of all entries but some, and what attests them. */
export function besides(all: readonly ManifestEntry[], meant: readonly ManifestEntry[]): Set<string> {
  const digests = new Set(meant.map(({ descriptor }) => descriptor.digest));
  const attesting = ({ attests, isWhole }: ManifestEntry) => isWhole && attests && digests.has(attests);
  const others = all.filter((entry) => !digests.has(entry.descriptor.digest) && !attesting(entry));
  return new Set(others.map(({ descriptor }) => descriptor.digest));
}

/** Of the entries whose image is here, the one of just this platform. */
export function imageOf(entries: readonly ManifestEntry[], wanted: Platform): ManifestEntry | undefined {
  return entries.find((entry) => {
    const platform = entryPlatform(entry);
    return entry.image !== undefined && platform !== undefined && isPlatform(platform, wanted);
  });
}
