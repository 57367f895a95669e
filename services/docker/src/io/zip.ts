import zlib from "node:zlib";
import { CliError } from "../cli-error.ts";

export interface ZipEntry {
  readonly name: string;
  /** Not a directory, a link or something else. */
  readonly isFile: boolean;
  /** @throws CliError when its bytes are damaged, or more than `limitBytes` */
  content(limitBytes: number): Buffer;
}

const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];
const [LOCAL_BYTES, CENTRAL_BYTES, END_BYTES] = [30, 46, 22];
const COMMENT_BYTES_MAX = 0xffff;
const [STORED, DEFLATED] = [0, 8];
/** Bit of the flags. */
const ENCRYPTED = 1;
/** The high byte of "made by". */
const UNIX = 3;
const [TYPE_BITS, REGULAR] = [0o170000, 0o100000];

export function isZip(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes.readUInt32LE(0) === LOCAL;
}

/**
 * The entries of a zip archive, in the order of its directory. Neither parts of 4 GiB nor encryption.
 *
 * @throws CliError for what is no such archive
 * @see https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3
 */
export function zipEntries(zip: Buffer): ZipEntry[] {
  return checked(() => {
    const end = endOf(zip);
    const entries: ZipEntry[] = [];
    let at = zip.readUInt32LE(end + 16);
    for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
      if (zip.readUInt32LE(at) !== CENTRAL) throw damaged("not a valid zip file");
      const lengths = [28, 30, 32].map((field) => zip.readUInt16LE(at + field));
      const name = zip.toString("utf8", at + CENTRAL_BYTES, at + CENTRAL_BYTES + (lengths[0] ?? 0));
      entries.push(entryOf(zip, at, name));
      at += lengths.reduce((sum, length) => sum + length, CENTRAL_BYTES);
    }
    return entries;
  });
}

/** @throws CliError for what points out of the archive */
function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) throw damaged("not a valid zip file");
    throw error;
  }
}

/** Where the record is that comes last, before a comment. */
function endOf(zip: Buffer): number {
  for (let at = zip.length - END_BYTES; at >= Math.max(0, zip.length - END_BYTES - COMMENT_BYTES_MAX); at--)
    if (zip.readUInt32LE(at) === END) return at;
  throw damaged("not a valid zip file");
}

function entryOf(zip: Buffer, at: number, name: string): ZipEntry {
  const [madeBy, attributes] = [zip.readUInt8(at + 5), zip.readUInt32LE(at + 38)];
  const [flags, method] = [zip.readUInt16LE(at + 8), zip.readUInt16LE(at + 10)];
  const [crc, packed, size] = [16, 20, 24].map((field) => zip.readUInt32LE(at + field));
  const local = zip.readUInt32LE(at + 42);
  const type = (attributes >>> 16) & TYPE_BITS;
  return {
    name,
    isFile: !name.endsWith("/") && (madeBy !== UNIX || type === REGULAR || type === 0),
    content(limitBytes) {
      if ((flags & ENCRYPTED) !== 0) throw damaged(`${name}: encrypted files are not supported`);
      const start = checked(() => {
        if (zip.readUInt32LE(local) !== LOCAL) throw damaged("not a valid zip file");
        return local + LOCAL_BYTES + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      });
      const bytes = zip.subarray(start, start + (packed ?? 0));
      const content = method === STORED ? bytes : inflated(bytes, method, { name, limitBytes });
      if (content.length > limitBytes) throw tooLong();
      if (content.length !== size || zlib.crc32(content) !== crc) throw damaged(`${name}: checksum error`);
      return content;
    },
  };
}

function inflated(
  bytes: Buffer,
  method: number,
  { name, limitBytes }: { name: string; limitBytes: number },
): Buffer {
  if (method !== DEFLATED) throw damaged(`${name}: unsupported compression algorithm`);
  try {
    return zlib.inflateRawSync(bytes, { maxOutputLength: limitBytes + 1 });
  } catch (error) {
    const isLong = error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
    throw isLong ? tooLong() : damaged(`${name}: checksum error`);
  }
}

const damaged = (words: string): CliError => new CliError(`invalid context: zip: ${words}`);
const tooLong = (): CliError => new CliError("read exceeds the defined limit");
