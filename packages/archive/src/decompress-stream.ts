import { spawn } from "node:child_process";
import { once } from "node:events";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";
import { EngineError, isErrno } from "@longshore/errors";
import { checkSize, DEFAULT_SIZE_LIMITS, type SizeLimits } from "./size-limits.ts";

const CHUNK_BYTES = 256 << 10;

/** How a stream is packed, by its first bytes. */
export type StreamCompression = "none" | "gzip" | "zstd" | "bzip2" | "xz";

const MAGIC: readonly [StreamCompression, readonly number[]][] = [
  ["gzip", [0x1f, 0x8b, 0x08]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];
const MAGIC_MAX_BYTES = 6;

/**
 * Say how a stream is packed, and give it back whole.
 */
export async function peekCompression(
  source: AsyncIterable<Buffer>,
): Promise<{ compression: StreamCompression; stream: AsyncGenerator<Buffer> }> {
  const pieces = source[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  let ended = false;
  while (start.length < MAGIC_MAX_BYTES && !ended) {
    const { done, value } = await pieces.next();
    if (done) ended = true;
    else start = start.length === 0 ? value : Buffer.concat([start, value]);
  }
  const found = MAGIC.find(([, magic]) => magic.every((byte, i) => start[i] === byte));
  return { compression: found?.[0] ?? "none", stream: rest(start, pieces) };
}

async function* rest(start: Buffer, pieces: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (start.length > 0) yield start;
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) yield next.value;
  } finally {
    await pieces.return?.();
  }
}

/**
 * A stream unpacked, whatever it is packed with. bzip2 and xz need the programs of these names, as Docker's xz does.
 *
 * @throws EngineError `invalid_argument` for damaged input, `resource_exhausted` for what becomes too large, `unavailable` when the program
 * is missing
 */
export async function* decompressStream(
  source: AsyncIterable<Buffer>,
  limits: SizeLimits = DEFAULT_SIZE_LIMITS,
): AsyncGenerator<Buffer> {
  const { compression, stream } = await peekCompression(source);
  if (compression === "none") {
    yield* stream;
    return;
  }
  let packed = 0;
  let unpacked = 0;
  const counted = (async function* () {
    for await (const piece of stream) {
      packed += piece.length;
      yield piece;
    }
  })();
  for await (const piece of decompressed(counted, compression)) {
    unpacked += piece.length;
    checkSize("the archive", { packed, unpacked }, limits);
    yield piece;
  }
}

function decompressed(
  stream: AsyncIterable<Buffer>,
  compression: Exclude<StreamCompression, "none">,
): AsyncGenerator<Buffer> {
  switch (compression) {
    case "gzip":
      return through(stream, zlib.createGunzip({ chunkSize: CHUNK_BYTES }), compression);
    case "zstd":
      return through(stream, zlib.createZstdDecompress({ chunkSize: CHUNK_BYTES }), compression);
    default:
      return throughProgram(stream, compression);
  }
}

async function* through(
  source: AsyncIterable<Buffer>,
  transform: Readable & Writable,
  compression: string,
): AsyncGenerator<Buffer> {
  const input = Readable.from(source, { objectMode: false, highWaterMark: CHUNK_BYTES });
  let inputFailure: unknown;
  input.once("error", (error) => {
    inputFailure = error;
  });
  const feeding = pipeline(input, transform).catch(() => {}); // the failure shows on the reading side
  try {
    for await (const chunk of transform) yield chunk as Buffer;
  } catch (error) {
    throw inputFailure ?? corrupt(compression, error);
  } finally {
    input.destroy();
    transform.destroy();
    await feeding;
  }
}

async function* throughProgram(
  source: AsyncIterable<Buffer>,
  program: "bzip2" | "xz",
): AsyncGenerator<Buffer> {
  const child = spawn(program, ["-d", "-c", "-q"], { stdio: ["pipe", "pipe", "pipe"] });
  const ended = once(child, "exit") as Promise<[number | null]>;
  ended.catch(() => {});
  try {
    await once(child, "spawn");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    throw new EngineError(
      "unavailable",
      `the archive is packed with ${program}, which is not installed on the engine's host`,
    );
  }
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(0, 300);
  });
  const input = Readable.from(source, { objectMode: false, highWaterMark: CHUNK_BYTES });
  let inputFailure: unknown;
  input.once("error", (error) => {
    inputFailure = error;
  });
  const feeding = pipeline(input, child.stdin).catch(() => {});
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    const [status] = await ended;
    if (inputFailure !== undefined) throw inputFailure;
    if (status !== 0) throw corrupt(program, new Error(said.trim() || `ended with ${status}`));
  } finally {
    input.destroy();
    if (child.exitCode === null) child.kill("SIGKILL");
    await feeding;
    await ended;
  }
}

function corrupt(compression: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof EngineError) return error;
  return new EngineError("invalid_argument", `${compression}: ${error.message}`, { cause: error });
}
