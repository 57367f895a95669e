import type { Platform } from "@longshore/oci";
import { canonicalString, familiarString } from "@longshore/reference";
import { withLease } from "../../containerd/leases.ts";
import type { Engine } from "../../engine.ts";
import { BlobWriter } from "../blob-writer.ts";
import { keepNameless, moveName } from "../give-name.ts";
import type { Image } from "../image.ts";
import { emitImageEvent } from "../image-events.ts";
import { type ProgressLine, progressBar, shortDigest } from "../pull-progress.ts";
import type { LayerState } from "../unpack.ts";
import { readArchive } from "./archive-contents.ts";
import { type ArchivedImage, archivedImages } from "./archive-images.ts";

export interface LoadOptions {
  /** Only the images for these; none: all. */
  platforms: readonly Platform[];
  /** Tell only the names. */
  quiet: boolean;
  signal: AbortSignal;
  progress: (line: ProgressLine) => void;
}

/**
 * Take in the images of an archive: an OCI layout or Docker's, packed or not.
 *
 * @throws EngineError `invalid_argument` for an archive or an image that makes no sense; nothing of it stays then
 */
export async function loadImages(
  engine: Engine,
  source: AsyncIterable<Buffer>,
  { platforms, quiet, signal, progress }: LoadOptions,
): Promise<void> {
  const { containerd } = engine;
  await withLease(containerd, async (lease) => {
    using writer = new BlobWriter(containerd, lease);
    const contents = await readArchive(source, writer, signal);
    const archived = await archivedImages(containerd, writer, contents, platforms);
    const images: { image: Image; from: ArchivedImage }[] = [];
    for (const from of archived) {
      const image = from.chosen ?? (await engine.images.read(from.target.digest));
      await engine.unpacker.unpack(image, {
        lease,
        signal,
        ...(!quiet && { onLayer: layerProgress(image, progress) }),
      });
      await engine.unpacker.protect(image);
      images.push({ image, from });
    }
    // Names are given when all images are whole.
    for (const { image, from } of images) await name(engine, image, from, progress);
  });
}

function layerProgress(image: Image, progress: (line: ProgressLine) => void) {
  return (index: number, state: LayerState, offset: number) => {
    if (state !== "extracting") return;
    const total = Number(image.layers[index]?.size ?? 0n);
    const detail = { current: Math.min(offset, total), total };
    progress({
      status: "Loading layer",
      progressDetail: detail,
      progress: progressBar(detail),
      id: shortDigest(image.config.rootfs.diff_ids[index] ?? ""),
    });
  };
}

async function name(
  engine: Engine,
  image: Image,
  { target, references }: ArchivedImage,
  progress: (line: ProgressLine) => void,
): Promise<void> {
  for (const reference of references) {
    const shown = familiarString(reference);
    const old = await moveName(engine.images, canonicalString(reference), target, image);
    if (old) {
      progress({
        stream: `The image ${shown} already exists, renaming the old one with ID ${old.id} to empty string\n`,
      });
    }
    progress({ stream: `Loaded image: ${shown}\n` });
  }
  if (references.length === 0) {
    await keepNameless(engine.images, image);
    progress({ stream: `Loaded image ID: ${image.id}\n` });
  }
  emitImageEvent(engine, image, "load");
}
