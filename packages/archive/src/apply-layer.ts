import fs from "node:fs";
import { createHasher, type Digest } from "@longshore/digest";
import { type Compression, readDecompressed } from "./decompress.ts";
import { type ApplyOptions, LayerApplier } from "./layer-applier.ts";
import { checkSize, DEFAULT_SIZE_LIMITS, type SizeLimits } from "./size-limits.ts";
import { TarReader } from "./tar-reader.ts";

export interface AppliedLayer {
  /** Of the uncompressed tar: the layer's diff id. */
  readonly digest: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
}

export interface ApplyLayerOptions extends ApplyOptions {
  limits?: SizeLimits;
  /** Told of each piece how many of the blob's bytes have been read. */
  onRead?: (offset: number) => void;
}

/**
 * Unpack a layer into a directory. It blocks its thread for as long as it writes files: a daemon has it done by another process.
 *
 * @param file the layer's blob
 * @param root existing directory
 * @throws EngineError `invalid_argument` for a broken archive, `resource_exhausted` beyond the limits; what was unpacked until then stays
 */
export async function applyLayer(
  file: string,
  compression: Compression,
  root: string,
  options: ApplyLayerOptions,
): Promise<AppliedLayer> {
  const { limits = DEFAULT_SIZE_LIMITS } = options;
  const packed = fs.statSync(file).size;
  using applier = new LayerApplier(root, options);
  const reader = new TarReader(applier);
  const hasher = createHasher();
  let size = 0;
  for await (const chunk of readDecompressed(file, compression, options.onRead)) {
    hasher.update(chunk);
    size += chunk.length;
    checkSize("the layer", { packed, unpacked: size }, limits);
    reader.feed(chunk);
  }
  reader.end();
  applier.finish();
  return { digest: hasher.digest(), size };
}
