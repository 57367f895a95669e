import { EngineError } from "@longshore/errors";

export const BLOCK_BYTES = 512;

/** Kinds of entries, as the file system has them. */
export type EntryType = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

/**
 * One entry of a tar. Names are byte strings: each character is one byte (latin1), because a tar's names need not be UTF-8.
 */
export interface TarEntry {
  name: string;
  type: EntryType;
  /** Target of a link. */
  linkName: string;
  /** Permissions and set-id bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content that follow; 0 for all but files. */
  size: number;
  /** Nanoseconds since 1970. */
  mtimeNs: bigint;
  atimeNs: bigint;
  major: number;
  minor: number;
  /** Extended attributes; values are byte strings. */
  xattrs: ReadonlyMap<string, string>;
}

/** A header block as it stands there, before extensions are applied. */
export interface RawHeader {
  typeflag: string;
  name: string;
  linkName: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeSeconds: number;
  major: number;
  minor: number;
}

export function tarError(what: string): EngineError {
  return new EngineError("invalid_argument", `archive/tar: ${what}`);
}

/**
 * Read a header block.
 *
 * @returns undefined for a block of zeros, which ends an archive
 * @throws EngineError `invalid_argument` for a wrong checksum or number
 * @see POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"
 */
export function parseHeader(block: Buffer): RawHeader | undefined {
  if (block[0] === 0 && isZero(block)) return undefined;
  verifyChecksum(block);
  const magic = block.toString("latin1", 257, 263);
  const posix = magic === "ustar\0";
  const prefix = posix ? text(block, 345, 500) : "";
  const name = text(block, 0, 100);
  const device = magic.startsWith("ustar");
  return {
    typeflag: String.fromCharCode(block[156] ?? 0),
    name: prefix ? `${prefix}/${name}` : name,
    linkName: text(block, 157, 257),
    mode: tarNumber(block, 100, 108),
    uid: tarNumber(block, 108, 116),
    gid: tarNumber(block, 116, 124),
    size: tarNumber(block, 124, 136),
    mtimeSeconds: tarNumber(block, 136, 148),
    major: device ? tarNumber(block, 329, 337) : 0,
    minor: device ? tarNumber(block, 337, 345) : 0,
  };
}

function isZero(block: Buffer): boolean {
  for (let i = 0; i < BLOCK_BYTES; i++) if (block[i] !== 0) return false;
  return true;
}

function text(block: Buffer, start: number, end: number): string {
  const nul = block.indexOf(0, start);
  return block.toString("latin1", start, nul === -1 || nul > end ? end : nul);
}

/** A number of a header: octal digits, or, with the first bit set, a big-endian number of 8 or 12 bytes (GNU). */
export function tarNumber(block: Buffer, start: number, end: number): number {
  const first = block[start] ?? 0;
  if (first & 0x80) return base256(block, start, end);
  const digits = block.toString("latin1", start, end).replaceAll("\0", " ").trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw tarError("invalid tar header");
  return Number.parseInt(digits, 8);
}

function base256(block: Buffer, start: number, end: number): number {
  const negative = ((block[start] ?? 0) & 0x40) !== 0;
  let value = 0n;
  for (let i = start; i < end; i++) {
    const byte = (block[i] ?? 0) & (i === start ? 0x7f : 0xff);
    value = (value << 8n) | BigInt(byte);
  }
  if (negative) value -= 1n << BigInt(8 * (end - start) - 1);
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw tarError("invalid tar header");
  return result;
}

/** The sum of all bytes with the sum's own field taken as spaces; some old writers added signed bytes. */
function verifyChecksum(block: Buffer): void {
  let unsigned = 8 * 32;
  let signed = 8 * 32;
  for (let i = 0; i < BLOCK_BYTES; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const sum = tarNumber(block, 148, 156);
  if (sum !== unsigned && sum !== signed) throw tarError("invalid tar header");
}
