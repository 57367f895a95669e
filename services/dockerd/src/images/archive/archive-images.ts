import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { detectCompression } from "@longshore/archive";
import { EngineError, errorCode } from "@longshore/errors";
import { formatPlatform, type Platform } from "@longshore/oci";
import { familiarString, type Reference, tryParseReference, withDefaultTag } from "@longshore/reference";
import { z } from "zod";
import type { ContainerdClient } from "../../containerd/client.ts";
import type { BlobWriter } from "../blob-writer.ts";
import { composeImage, LAYER_TYPES } from "../compose-image.ts";
import { gcLabels } from "../gc-labels.ts";
import type { Image } from "../image.ts";
import { descriptorSchema, imageConfigSchema, manifestSchema } from "../image-config.ts";
import { runsHere } from "../image-store.ts";
import { besides, imageOf, manifestsOf } from "../manifests.ts";
import { parseDocument, readBlob } from "../read-image.ts";
import type { ArchiveContents } from "./archive-contents.ts";

/** An image that an archive holds, whole in the content store. */
export interface ArchivedImage {
  target: Descriptor;
  /** The image that is meant, when only some platforms' are. */
  chosen?: Image;
  /** Digests of what then is left out of an index. */
  without?: ReadonlySet<string>;
  /** Names that the archive gives it. */
  references: Reference[];
}

const TREE_DEPTH_MAX = 4;

const indexSchema = z.object({
  manifests: z.array(descriptorSchema.extend({ annotations: z.record(z.string(), z.string()).nullish() })),
});

const dockerManifestSchema = z.array(
  z.object({
    Config: z.string(),
    RepoTags: z.array(z.string()).nullish(),
    Layers: z.array(z.string()),
  }),
);

/**
 * The images of an archive: those of its OCI index, or else those of Docker's `manifest.json`.
 *
 * @param platforms only the images for these; none: all
 * @throws EngineError `invalid_argument` for an archive that holds no images, or not all of one; `not_found` for one that holds none for the
 * platforms
 */
export async function archivedImages(
  containerd: ContainerdClient,
  writer: BlobWriter,
  contents: ArchiveContents,
  platforms: readonly Platform[],
): Promise<ArchivedImage[]> {
  const archived = await fromArchive(() => allImages(containerd, writer, contents));
  const images =
    platforms.length === 0
      ? archived
      : await Promise.all(archived.map((image) => choose(containerd, image, platforms)));
  const lacking = images.filter(({ chosen }) => platforms.length > 0 && !chosen);
  if (lacking.length > 0) throw notProvided(archived, lacking, platforms);
  if (!contents.find("index.json")) return images;
  for (const { target, without = new Set<string>() } of images)
    await fromArchive(() =>
      linkTree({ containerd, writer, contents, without, linked: new Set() }, target.digest),
    );
  return images;
}

/** What isn't there, or makes no sense, is so in the archive. */
async function fromArchive<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!["not_found", "data_loss"].includes(errorCode(error))) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("invalid_argument", `invalid archive: ${why}`, { cause: error });
  }
}

async function choose(
  containerd: ContainerdClient,
  archived: ArchivedImage,
  platforms: readonly Platform[],
): Promise<ArchivedImage> {
  const entries = await manifestsOf(containerd, archived.target);
  const meant = platforms.flatMap((platform) => imageOf(entries, platform) ?? []);
  const images = meant.flatMap(({ image, isWhole }) => (image && isWhole ? [image] : []));
  const chosen = images.find(runsHere) ?? images[0];
  return { ...archived, ...(chosen && { chosen }), without: besides(entries, meant) };
}

function notProvided(
  all: readonly ArchivedImage[],
  lacking: readonly ArchivedImage[],
  platforms: readonly Platform[],
): EngineError {
  const wanted = `[${platforms.map(formatPlatform).join(" ")}]`;
  if (lacking.length === all.length)
    return new EngineError("not_found", `no images providing the requested platform(s) found: ${wanted}`);
  const names = lacking.flatMap(({ target, references }) =>
    references.length > 0 ? references.map(familiarString) : [target.digest],
  );
  return new EngineError(
    "not_found",
    `images [${names.join(", ")}] don't provide the requested platform (${wanted})`,
  );
}

async function allImages(
  containerd: ContainerdClient,
  writer: BlobWriter,
  contents: ArchiveContents,
): Promise<ArchivedImage[]> {
  if (contents.find("index.json")) return ociImages(containerd, contents);
  if (contents.find("manifest.json")) return dockerImages(containerd, writer, contents);
  throw new EngineError(
    "invalid_argument",
    "invalid archive: does not contain an index.json or a manifest.json",
  );
}

async function ociImages(containerd: ContainerdClient, contents: ArchiveContents): Promise<ArchivedImage[]> {
  const bytes = await readBlob(containerd, contents.require("index.json").digest);
  const { manifests } = parseDocument("index.json", bytes, indexSchema);
  const images = new Map<string, ArchivedImage>();
  for (const { mediaType, digest, size, annotations } of manifests) {
    const image = images.get(digest) ?? {
      target: { mediaType, digest, size: BigInt(size), annotations: {} },
      references: [],
    };
    images.set(digest, image);
    const name =
      annotations?.["io.containerd.image.name"] ?? annotations?.["org.opencontainers.image.ref.name"];
    image.references.push(...referencesOf(name === undefined ? [] : [name]));
  }
  return [...images.values()];
}

/** A name as annotations have it; a mere tag names no repository. */
function referencesOf(names: readonly string[]): Reference[] {
  return names.flatMap((name) => {
    const reference = /[:/]/.test(name) ? tryParseReference(name) : undefined;
    return reference && reference.digest === undefined ? [withDefaultTag(reference)] : [];
  });
}

/** What {@link linkTree} works with. */
interface Linking {
  containerd: ContainerdClient;
  writer: BlobWriter;
  contents: ArchiveContents;
  /** Digests that are left out. */
  without: ReadonlySet<string>;
  /** Digests that are done: an index may list the same one again and again. */
  linked: Set<string>;
}

/** Let each manifest and index keep what it refers to; what isn't there of an index is left out. */
async function linkTree(linking: Linking, digest: string, depth = 0): Promise<void> {
  const { containerd, writer, contents, without, linked } = linking;
  if (linked.has(digest)) return;
  if (depth > TREE_DEPTH_MAX)
    throw new EngineError("invalid_argument", `invalid archive: index ${digest} is too deep`);
  linked.add(digest);
  const {
    manifests = [],
    config,
    layers = [],
  } = parseDocument(digest, await readBlob(containerd, digest), manifestSchema);
  const held = (child: { digest: string }) =>
    !without.has(child.digest) && contents.find(`blobs/${child.digest.replace(":", "/")}`);
  for (const child of manifests.filter(held)) await linkTree(linking, child.digest, depth + 1);
  for (const leaf of [...(config ? [config] : []), ...layers]) {
    // An archive may leave out what the engine has already.
    if (!held(leaf)) await writer.adopt(leaf.digest);
  }
  await writer.adopt(digest, gcLabels([...manifests.filter(held), ...(config ? [config] : []), ...layers]));
}

async function dockerImages(
  containerd: ContainerdClient,
  writer: BlobWriter,
  contents: ArchiveContents,
): Promise<ArchivedImage[]> {
  const bytes = await readBlob(containerd, contents.require("manifest.json").digest);
  const images: ArchivedImage[] = [];
  for (const { Config, RepoTags, Layers } of parseDocument("manifest.json", bytes, dockerManifestSchema)) {
    const config = (await readBlob(containerd, contents.require(Config).digest)).toString();
    const { rootfs } = parseDocument(Config, Buffer.from(config), imageConfigSchema);
    if (rootfs.diff_ids.length !== Layers.length) {
      throw new EngineError(
        "invalid_argument",
        `invalid manifest, layers length mismatch: expected ${rootfs.diff_ids.length}, got ${Layers.length}`,
      );
    }
    const layers = await Promise.all(Layers.map((layer) => layerDescriptor(containerd, contents, layer)));
    const target = await composeImage(writer, config, layers);
    images.push({ target, references: referencesOf(RepoTags ?? []) });
  }
  return images;
}

async function layerDescriptor(
  containerd: ContainerdClient,
  contents: ArchiveContents,
  name: string,
): Promise<Descriptor> {
  const { digest, size } = contents.require(name);
  const start: Buffer[] = [];
  if (size > 0) {
    const range = { digest, offset: 0n, size: BigInt(Math.min(size, 4)) };
    for await (const { data } of containerd.content.read(range)) start.push(data);
  }
  const mediaType = LAYER_TYPES[detectCompression(Buffer.concat(start))];
  return { mediaType, digest, size: BigInt(size), annotations: {} };
}
