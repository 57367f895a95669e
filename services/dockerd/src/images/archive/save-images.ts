import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { contentPadding, END_BLOCKS, headerBlocks } from "@longshore/archive";
import { EngineError, errorCode } from "@longshore/errors";
import type { Platform } from "@longshore/oci";
import {
  familiarString,
  isImageId,
  parseReference,
  type Reference,
  tryParseReference,
} from "@longshore/reference";
import type { Engine } from "../../engine.ts";
import { collectNowAndThen } from "../collect.ts";
import type { Image, NamedImage } from "../image.ts";
import { manifestSchema } from "../image-config.ts";
import { emitImageEvent } from "../image-events.ts";
import { DANGLING_PREFIX, noSuchImage, runsHere } from "../image-store.ts";
import { findNamed } from "../inspect-image.ts";
import { besides, imageOf, manifestsOf } from "../manifests.ts";
import { platformNotFound } from "../platform-image.ts";
import { parseDocument, readBlob } from "../read-image.ts";

/** One image of an archive, and the names that it is to have where the archive is loaded. */
interface SavedImage {
  image: Image;
  target: Descriptor;
  /** Manifests of an index that don't go into the archive. */
  without?: ReadonlySet<string>;
  references: Reference[];
}

/**
 * The images as an archive that is both an OCI image layout and what `docker save` writes (`manifest.json`): their blobs as they are in
 * the content store, so that all digests stay.
 *
 * @param platforms only what is here for these; none: all that the names stand for
 * @returns the pieces of a tar, read as they are asked for; all that can be missing has been looked for before
 * @throws EngineError `not_found` for a name that no image has, or of which nothing for the platforms is here
 * @see OCI image specification, `image-layout.md`
 */
export async function saveImages(
  engine: Engine,
  names: readonly string[],
  platforms: readonly Platform[],
): Promise<AsyncGenerator<Buffer>> {
  const saved = new Map<string, SavedImage>();
  for (const name of names) {
    for (const one of await select(engine, name, platforms)) {
      const key = `${one.target.digest} ${one.image.id}`;
      const known = saved.get(key);
      if (known) known.references.push(...one.references.filter((r) => !includes(known.references, r)));
      else saved.set(key, one);
    }
  }
  const images = [...saved.values()];
  const blobs = new Map<string, bigint>();
  for (const { target, without = new Set<string>() } of images)
    await collectBlobs({ engine, blobs, without, seen: new Set() }, target.digest);
  return writeArchive(engine, images, blobs);
}

/** What a name on the command line means: an id, a tag, or all tags of a repository. */
async function select(engine: Engine, name: string, platforms: readonly Platform[]): Promise<SavedImage[]> {
  const reference = isImageId(name) ? undefined : tryParseReference(name);
  if (reference && reference.tag === undefined && reference.digest === undefined) {
    const all = (await engine.images.list()).flatMap((named) => tagsOf(named, reference));
    if (all.length > 0) {
      return Promise.all(
        all.map(async ({ named, tag, name: canonical }) => ({
          ...(await savedTarget(engine, named.image, canonical, platforms)),
          references: [tag],
        })),
      );
    }
  }
  const { image, names, name: canonical } = await findNamed(engine, name);
  const any = canonical ?? names[0];
  if (any === undefined) throw noSuchImage(name);
  const tag = canonical === undefined ? undefined : tryParseReference(canonical);
  const target = await savedTarget(engine, image, any, platforms);
  return [{ ...target, references: tag && tag.digest === undefined ? [tag] : [] }];
}

function tagsOf(named: NamedImage, repository: Reference) {
  return named.names.flatMap((name) => {
    if (name.startsWith(DANGLING_PREFIX)) return [];
    const tag = tryParseReference(name);
    const fits =
      tag?.domain === repository.domain && tag.path === repository.path && tag.digest === undefined;
    return tag && fits ? [{ named, tag, name }] : [];
  });
}

/** What of a name goes into an archive: one platform's manifest, or an index with those of several, or all. */
async function savedTarget(
  engine: Engine,
  image: Image,
  name: string,
  platforms: readonly Platform[],
): Promise<Omit<SavedImage, "references">> {
  const [first, ...more] = platforms;
  if (!first) return { image, target: await wholeTarget(engine, image, name) };
  const target = (await engine.images.get(name))?.target;
  if (!target) throw noSuchImage(name);
  const entries = await manifestsOf(engine.containerd, target);
  const meant = platforms.flatMap((platform) => imageOf(entries, platform) ?? []);
  const [main] = meant;
  if (!main?.image) {
    const shown = familiarString(parseReference(name));
    const { message } = platformNotFound(shown, first);
    throw new EngineError("not_found", `no suitable export target found: ${message}`);
  }
  if (more.length === 0) return { image: main.image, target: await engine.images.manifestOf(main.image) };
  const host = meant.find((entry) => entry.image && runsHere(entry.image))?.image;
  return { image: host ?? main.image, target, without: besides(entries, meant) };
}

/** What the name points to, if all of it is here; else the one manifest that is. */
export async function wholeTarget(engine: Engine, image: Image, name: string): Promise<Descriptor> {
  const target = (await engine.images.get(name))?.target;
  if (!target) throw noSuchImage(name);
  try {
    await collectBlobs({ engine, blobs: new Map(), without: new Set(), seen: new Set() }, target.digest);
    return target;
  } catch (error) {
    if (errorCode(error) !== "not_found" || target.digest === image.manifestDigest) throw error;
  }
  return engine.images.manifestOf(image);
}

const TREE_DEPTH_MAX = 4;

/** What {@link collectBlobs} works with. */
interface Collecting {
  engine: Engine;
  /** Sizes in bytes by digest: what has been found. */
  blobs: Map<string, bigint>;
  /** Digests that are left out. */
  without: ReadonlySet<string>;
  /** Digests that are done: an index may list the same one again and again. */
  seen: Set<string>;
}

/** All blobs below a manifest or index. @throws EngineError `not_found` when one isn't here */
async function collectBlobs(collecting: Collecting, digest: string, depth = 0): Promise<void> {
  const { engine, blobs, without, seen } = collecting;
  if (seen.has(digest)) return;
  if (depth > TREE_DEPTH_MAX)
    throw new EngineError("data_loss", `index ${digest} has too many indexes below it`);
  seen.add(digest);
  const bytes = await readBlob(engine.containerd, digest);
  blobs.set(digest, BigInt(bytes.length));
  const { manifests = [], config, layers = [] } = parseDocument(digest, bytes, manifestSchema);
  for (const child of manifests)
    if (!without.has(child.digest)) await collectBlobs(collecting, child.digest, depth + 1);
  const leaves = [...(config ? [config] : []), ...layers].filter((leaf) => !blobs.has(leaf.digest));
  await Promise.all(
    leaves.map(async (leaf) => {
      const { info } = await engine.containerd.content.info({ digest: leaf.digest });
      blobs.set(leaf.digest, info?.size ?? 0n);
    }),
  );
}

async function* writeArchive(
  engine: Engine,
  images: readonly SavedImage[],
  blobs: ReadonlyMap<string, bigint>,
): AsyncGenerator<Buffer> {
  yield directory("blobs/");
  yield directory("blobs/sha256/");
  for (const [digest, size] of [...blobs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    yield fileHeader(blobPath(digest), Number(size));
    let sent = 0;
    for await (const { data } of engine.containerd.content.read({ digest, offset: 0n, size: 0n })) {
      sent += data.length;
      yield data;
      collectNowAndThen(data.length);
    }
    if (sent !== Number(size)) throw new EngineError("data_loss", `blob ${digest} has changed its size`);
    yield contentPadding(sent);
  }
  for (const { image } of images) emitImageEvent(engine, image, "save");
  yield document("index.json", ociIndex(images));
  yield document("manifest.json", dockerManifest(images));
  yield document("oci-layout", { imageLayoutVersion: "1.0.0" });
  yield END_BLOCKS;
}

function ociIndex(images: readonly SavedImage[]): object {
  const manifests = images.flatMap(({ target, references }) => {
    const { mediaType, digest, size } = target;
    const descriptor = { mediaType, digest, size: Number(size) };
    if (references.length === 0) return [descriptor];
    return references.map((reference) => ({
      ...descriptor,
      annotations: {
        "io.containerd.image.name": `${reference.domain}/${reference.path}:${reference.tag}`,
        "org.opencontainers.image.ref.name": reference.tag,
      },
    }));
  });
  return { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests };
}

function dockerManifest(images: readonly SavedImage[]): object {
  return images.map(({ image, references }) => ({
    Config: blobPath(image.id),
    RepoTags: references.length > 0 ? references.map(familiarString) : null,
    Layers: image.layers.map(({ digest }) => blobPath(digest)),
  }));
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function includes(references: readonly Reference[], { domain, path, tag }: Reference): boolean {
  return references.some((one) => one.domain === domain && one.path === path && one.tag === tag);
}

function document(name: string, value: object): Buffer {
  const bytes = Buffer.from(JSON.stringify(value));
  return Buffer.concat([fileHeader(name, bytes.length), bytes, contentPadding(bytes.length)]);
}

const ENTRY = {
  linkName: "",
  uid: 0,
  gid: 0,
  mtimeNs: 0n,
  atimeNs: 0n,
  major: 0,
  minor: 0,
  xattrs: new Map<string, string>(),
};

function fileHeader(name: string, size: number): Buffer {
  return headerBlocks({ ...ENTRY, name, type: "file", mode: 0o644, size });
}

function directory(name: string): Buffer {
  return headerBlocks({ ...ENTRY, name, type: "directory", mode: 0o755, size: 0 });
}
