import { decompressStream, peekCompression } from "@longshore/archive";
import { EngineError } from "@longshore/errors";
import type { Platform } from "@longshore/oci";
import { canonicalString, familiarString, type Reference } from "@longshore/reference";
import { withLease } from "../containerd/leases.ts";
import type { Engine } from "../engine.ts";
import { BlobWriter } from "./blob-writer.ts";
import { composeImage, LAYER_TYPES } from "./compose-image.ts";
import { keepNameless, moveName } from "./give-name.ts";
import { applyChanges } from "./image-changes.ts";
import { emitImageEvent } from "./image-events.ts";

export interface ImportOptions {
  /** Where the file system comes from, for the image's history: `-` or an address. */
  origin: string;
  /** With tag; without one the image has no name. */
  reference: Reference | undefined;
  message: string;
  /** What its programs are for. */
  platform: Platform;
  /** Dockerfile instructions. */
  changes: readonly string[];
  signal: AbortSignal;
}

/**
 * Make an image of one layer from a tar of a file system, packed or not.
 *
 * @returns the image's id
 * @throws EngineError `invalid_argument` for what is no tar or a bad change
 */
export async function importImage(
  engine: Engine,
  source: AsyncIterable<Buffer>,
  { origin, reference, message, platform, changes, signal }: ImportOptions,
): Promise<string> {
  const config = applyChanges({}, changes);
  const { containerd } = engine;
  return withLease(containerd, async (lease) => {
    using writer = new BlobWriter(containerd, lease);
    const { compression, stream } = await peekCompression(source);
    const kept = compression === "bzip2" || compression === "xz" ? "none" : compression;
    const bytes = kept === compression ? stream : decompressStream(stream);
    const { digest, size } = await writer.write(bytes, { signal });
    if (size === 0) throw new EngineError("invalid_argument", "the archive to import is empty");
    const layer = { mediaType: LAYER_TYPES[kept], digest, size: BigInt(size), annotations: {} };
    const created = new Date().toISOString();
    const comment = message || `Imported from ${origin}`;
    const image = {
      created,
      architecture: platform.architecture,
      ...(platform.variant !== "" && { variant: platform.variant }),
      os: platform.os,
      config,
      comment,
      rootfs: { type: "layers", diff_ids: [await engine.unpacker.applyBottom(layer, lease)] },
      history: [{ created, comment }],
    };
    const target = await composeImage(writer, JSON.stringify(image), [layer]);
    const read = await engine.images.read(target.digest);
    await engine.unpacker.unpack(read, { lease });
    await engine.unpacker.protect(read);
    if (reference) {
      await moveName(engine.images, canonicalString(reference), target, read);
      emitImageEvent(engine, read, "tag", { name: familiarString(reference) });
    } else await keepNameless(engine.images, read);
    emitImageEvent(engine, read, "import");
    return read.id;
  });
}
