import { type TarEntry, tarError } from "./tar-header.ts";

/** Extended header records by keyword; values are byte strings. */
export type PaxRecords = Map<string, string>;

const SCHILY_XATTR = "SCHILY.xattr.";
const LIBARCHIVE_XATTR = "LIBARCHIVE.xattr.";

/** The oldest way to say where a sparse file's parts are repeats these; the newer one puts all of them into one record. */
const SPARSE_PAIRS = new Set(["GNU.sparse.offset", "GNU.sparse.numbytes"]);

/**
 * Parse the content of a pax extended header: records `<length> <keyword>=<value>\n`.
 *
 * @throws EngineError `invalid_argument`
 * @see POSIX pax, "pax Extended Header"
 */
export function parsePax(bytes: Buffer): PaxRecords {
  const records: PaxRecords = new Map();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 ? "" : bytes.toString("latin1", at, space);
    const end = at + Number(digits);
    if (!/^[1-9]\d{0,9}$/.test(digits) || end > bytes.length || end <= space + 1 || bytes[end - 1] !== 0x0a) {
      throw tarError("invalid tar header");
    }
    const equals = bytes.indexOf(0x3d, space);
    if (equals === -1 || equals >= end) throw tarError("invalid tar header");
    const keyword = bytes.toString("latin1", space + 1, equals);
    const value = bytes.toString("latin1", equals + 1, end - 1);
    if (keyword === "" || (value.includes("\0") && !keyword.includes("xattr."))) {
      throw tarError("invalid tar header");
    }
    if (SPARSE_PAIRS.has(keyword)) {
      const map = records.get("GNU.sparse.map");
      records.set("GNU.sparse.map", map === undefined ? value : `${map},${value}`);
    } else records.set(keyword, value);
    at = end;
  }
  return records;
}

/** Let records overrule the header. An empty value is as if the record were not there. */
export function applyPax(entry: TarEntry, records: PaxRecords): void {
  const xattrs = new Map<string, string>();
  for (const [keyword, value] of records) {
    if (keyword.startsWith(SCHILY_XATTR)) {
      xattrs.set(keyword.slice(SCHILY_XATTR.length), value);
    } else if (keyword.startsWith(LIBARCHIVE_XATTR)) {
      const name = percentDecoded(keyword.slice(LIBARCHIVE_XATTR.length));
      if (!xattrs.has(name)) xattrs.set(name, Buffer.from(value, "base64").toString("latin1"));
    } else if (value !== "") {
      applyRecord(entry, keyword, value);
    }
  }
  if (xattrs.size > 0) entry.xattrs = xattrs;
}

function applyRecord(entry: TarEntry, keyword: string, value: string): void {
  switch (keyword) {
    case "path":
      entry.name = value;
      return;
    case "linkpath":
      entry.linkName = value;
      return;
    case "size":
      entry.size = decimal(value);
      return;
    case "uid":
      entry.uid = decimal(value);
      return;
    case "gid":
      entry.gid = decimal(value);
      return;
    case "mtime":
      entry.mtimeNs = nanoseconds(value);
      return;
    case "atime":
      entry.atimeNs = nanoseconds(value);
      return;
  }
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function decimal(value: string): number {
  const parsed = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(parsed)) throw tarError("invalid tar header");
  return parsed;
}

/** `-12.3456` seconds; digits beyond nanoseconds are cut off. */
function nanoseconds(value: string): bigint {
  const [, sign, seconds = "", fraction = ""] = /^(-?)(\d{1,18})(?:\.(\d*))?$/.exec(value) ?? [];
  if (seconds === "") throw tarError("invalid tar header");
  const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
  return sign === "-" ? -ns : ns;
}
