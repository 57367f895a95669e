import { BLOCK_BYTES, type EntryType, type TarEntry } from "./tar-header.ts";

const TYPEFLAG: Record<EntryType, string> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;

/** The two blocks of zeros that end an archive. */
export const END_BLOCKS = Buffer.alloc(2 * BLOCK_BYTES);

/** What fills an entry's content up to whole blocks. */
export function contentPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}

/**
 * The header blocks of an entry, before its content: ustar, with a pax header in front for what does not fit in there (long or
 * non-ASCII names, large numbers, parts of a second, attributes). Names are byte strings.
 */
export function headerBlocks(entry: TarEntry): Buffer {
  const records = paxRecords(entry);
  const header = ustarHeader(entry, TYPEFLAG[entry.type]);
  if (records.length === 0) return header;
  const content = Buffer.concat(records);
  const pax: TarEntry = {
    ...entry,
    name: "PaxHeaders.0/entry",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: content.length,
    mtimeNs: 0n,
  };
  return Buffer.concat([ustarHeader(pax, "x"), content, contentPadding(content.length), header]);
}

function paxRecords(entry: TarEntry): Buffer[] {
  const records: Buffer[] = [];
  const add = (keyword: string, value: string) => records.push(paxRecord(keyword, value));
  if (needsPax(entry.name, 100)) add("path", entry.name);
  if (needsPax(entry.linkName, 100)) add("linkpath", entry.linkName);
  if (entry.uid > MAX_OCTAL_7) add("uid", String(entry.uid));
  if (entry.gid > MAX_OCTAL_7) add("gid", String(entry.gid));
  if (entry.size > MAX_OCTAL_11) add("size", String(entry.size));
  if (entry.mtimeNs % 1_000_000_000n !== 0n || entry.mtimeNs < 0n) add("mtime", seconds(entry.mtimeNs));
  for (const [name, value] of entry.xattrs) add(`SCHILY.xattr.${name}`, value);
  return records;
}

function needsPax(text: string, room: number): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything but ASCII is meant
  return text.length > room || /[^\x00-\x7f]/.test(text);
}

function paxRecord(keyword: string, value: string): Buffer {
  const rest = ` ${keyword}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.from(`${length}${rest}`, "latin1");
}

function seconds(ns: bigint): string {
  const positive = ns < 0n ? -ns : ns;
  const fraction = String(positive % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${ns < 0n ? "-" : ""}${positive / 1_000_000_000n}${fraction && `.${fraction}`}`;
}

function ustarHeader(entry: TarEntry, typeflag: string): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  const fitting = (value: number, max: number) => (value > max ? 0 : value);
  const mtime = entry.mtimeNs < 0n ? 0 : Number(entry.mtimeNs / 1_000_000_000n);
  block.write(entry.name, 0, 100, "latin1");
  octal(entry.mode, 100, 8);
  octal(fitting(entry.uid, MAX_OCTAL_7), 108, 8);
  octal(fitting(entry.gid, MAX_OCTAL_7), 116, 8);
  octal(fitting(entry.size, MAX_OCTAL_11), 124, 12);
  octal(fitting(mtime, MAX_OCTAL_11), 136, 12);
  block.write("        ", 148, "latin1");
  block.write(typeflag, 156, "latin1");
  block.write(entry.linkName, 157, 100, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  octal(entry.major, 329, 8);
  octal(entry.minor, 337, 8);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
