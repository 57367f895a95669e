/** A tar entry to be written as given, sensible or not. Names are byte strings (latin1). */
export interface TestEntry {
  name: string;
  type?: string;
  content?: string;
  linkName?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds. */
  mtime?: number;
  major?: number;
  minor?: number;
  /** What the header says, when it is not the length of the content. */
  size?: number;
}

/** One entry's blocks: header, content, padding. */
export function tarBlocks(entry: TestEntry): Buffer {
  const { name, type = "0", content = "", linkName = "", mode = 0o644 } = entry;
  const body = Buffer.from(content, "latin1");
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  header.write(name, 0, 100, "latin1");
  octal(mode, 100, 8);
  octal(entry.uid ?? process.getuid?.() ?? 0, 108, 8);
  octal(entry.gid ?? process.getgid?.() ?? 0, 116, 8);
  octal(entry.size ?? body.length, 124, 12);
  octal(entry.mtime ?? 0, 136, 12);
  header.write("        ", 148);
  header.write(type, 156, "latin1");
  header.write(linkName, 157, 100, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  octal(entry.major ?? 0, 329, 8);
  octal(entry.minor ?? 0, 337, 8);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return Buffer.concat([header, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

/** A whole archive with its end blocks. */
export function tarOf(entries: readonly TestEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarBlocks), Buffer.alloc(1024)]);
}

/** One record of an extended header. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

/** An extended header for the entry that follows. */
export function paxHeader(records: Record<string, string>): Buffer {
  const content = Object.entries(records).map(([key, value]) => paxRecord(key, value));
  return tarBlocks({ name: "pax", type: "x", content: content.join("") });
}
