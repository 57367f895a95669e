import fs from "node:fs";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";
import { EngineError } from "@longshore/errors";

/** `detect`: whatever the bytes themselves say. */
export type Compression = "none" | "gzip" | "zstd" | "detect";

const CHUNK_BYTES = 256 << 10;

/** Up to this, the whole blob is unpacked in one call: setting up a stream would take longer. */
const SMALL_BYTES = 1 << 20;
const SMALL_OUTPUT_BYTES = 32 << 20;

/**
 * OCI's layer types. Docker's say `tar.gzip`, but have not always told the truth: there the bytes decide, as in containerd. Layers that
 * may not be distributed ("foreign") are layers all the same.
 */
const OCI_LAYER = /^application\/vnd\.oci\.image\.layer(?:\.nondistributable)?\.v1\.tar(?:\+(gzip|zstd))?$/;
const DOCKER_LAYER =
  /^application\/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:[.+](?:gzip|zstd))?$/;

/**
 * How a layer of this media type is compressed.
 *
 * @throws EngineError `unimplemented` for a media type that is no layer
 */
export function compressionOf(mediaType: string): Compression {
  const oci = OCI_LAYER.exec(mediaType);
  if (oci) return (oci[1] ?? "none") as Compression;
  if (DOCKER_LAYER.test(mediaType)) return "detect";
  throw new EngineError(
    "unimplemented",
    `no processor for media-type: ${JSON.stringify(mediaType)}: not implemented`,
  );
}

/** What the first bytes say, for archives that come without a media type. */
export function detectCompression(start: Uint8Array): "none" | "gzip" | "zstd" {
  const startsWith = (...magic: number[]) => magic.every((byte, i) => start[i] === byte);
  if (startsWith(0x1f, 0x8b, 0x08)) return "gzip";
  if (startsWith(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  return "none";
}

/**
 * The bytes of a file, decompressed, in chunks that are only valid until the next one is asked for.
 *
 * @param onRead told before each chunk how many of the file's own bytes have been read
 * @throws EngineError `invalid_argument` for what can't be decompressed
 */
export async function* readDecompressed(
  file: string,
  declared: Compression,
  onRead: (offset: number) => void = () => {},
): AsyncGenerator<Buffer> {
  const compression = declared === "detect" ? detectCompression(firstBytes(file)) : declared;
  if (compression === "none") {
    let offset = 0;
    for (const chunk of readChunks(file)) {
      offset += chunk.length;
      onRead(offset);
      yield chunk;
    }
    return;
  }
  const whole = decompressSmall(file, compression);
  if (whole) {
    onRead(fs.statSync(file).size);
    yield whole;
    return;
  }
  const options = { chunkSize: CHUNK_BYTES };
  const decompressor =
    compression === "gzip" ? zlib.createGunzip(options) : zlib.createZstdDecompress(options);
  const source = fs.createReadStream(file, { highWaterMark: CHUNK_BYTES });
  source.on("error", (error) => decompressor.destroy(error));
  try {
    for await (const chunk of source.pipe(decompressor)) {
      onRead(source.bytesRead);
      yield chunk as Buffer;
    }
  } catch (error) {
    throw asCorrupt(error, compression);
  } finally {
    source.destroy();
    decompressor.destroy();
  }
}

/** Write pieces to a file that exists, compressed. */
export async function writeCompressed(
  file: string,
  compression: "none" | "gzip" | "zstd",
  pieces: Iterable<Uint8Array>,
): Promise<void> {
  const target = fs.createWriteStream(file, { flags: "r+", highWaterMark: CHUNK_BYTES });
  const options = { chunkSize: CHUNK_BYTES };
  const compressor = {
    none: () => undefined,
    gzip: () => zlib.createGzip(options),
    zstd: () => zlib.createZstdCompress(options),
  }[compression]();
  if (compressor) await pipeline(copies(pieces), compressor, target);
  else await pipeline(copies(pieces), target);
}

/** Streams keep what they are given for a while; the pieces don't last. */
function* copies(pieces: Iterable<Uint8Array>): Generator<Buffer> {
  for (const piece of pieces) yield Buffer.from(piece);
}

function firstBytes(file: string): Buffer {
  const fd = fs.openSync(file, "r");
  try {
    const bytes = Buffer.alloc(4);
    fs.readSync(fd, bytes);
    return bytes;
  } finally {
    fs.closeSync(fd);
  }
}

function* readChunks(file: string): Generator<Buffer> {
  const fd = fs.openSync(file, "r");
  try {
    const buffer = Buffer.allocUnsafeSlow(4 * CHUNK_BYTES);
    for (let n = fs.readSync(fd, buffer); n > 0; n = fs.readSync(fd, buffer)) yield buffer.subarray(0, n);
  } finally {
    fs.closeSync(fd);
  }
}

/** Undefined when the blob is large, packed or unpacked. */
function decompressSmall(file: string, compression: "gzip" | "zstd"): Buffer | undefined {
  if (fs.statSync(file).size > SMALL_BYTES) return undefined;
  const bytes = fs.readFileSync(file);
  const options = { maxOutputLength: SMALL_OUTPUT_BYTES, chunkSize: 4 * CHUNK_BYTES };
  try {
    return compression === "gzip" ? zlib.gunzipSync(bytes, options) : zlib.zstdDecompressSync(bytes, options);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw asCorrupt(error, compression);
  }
}

function asCorrupt(error: unknown, compression: Compression): unknown {
  if (!(error instanceof Error) || !("code" in error) || !/^(Z_|ERR_|ZSTD_)/.test(String(error.code)))
    return error;
  return new EngineError("invalid_argument", `${compression}: ${error.message}`, { cause: error });
}
