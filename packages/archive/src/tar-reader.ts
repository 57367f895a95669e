import { applyPax, type PaxRecords, parsePax } from "./pax.ts";
import {
  oldGnuExtension,
  oldGnuSegments,
  type PaxSparse,
  paxSparse,
  type Segment,
  SparseContent,
  SparseMapReader,
} from "./sparse.ts";
import {
  BLOCK_BYTES,
  type EntryType,
  parseHeader,
  type RawHeader,
  type TarEntry,
  tarError,
} from "./tar-header.ts";

/** Where a reader delivers an archive, in its order. Throwing from any of these ends the reading. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** Content of the last file entry; the bytes are only valid during the call. */
  data(bytes: Buffer): void;
  /** Bytes of the last file entry that are a hole, without which sparse files are refused. */
  hole?(length: number): void;
  /** The last entry's content is complete. */
  entryEnd(): void;
}

/** Go's limit for the content of an extended header. */
const MAX_EXTENSION_BYTES = 1 << 20;

/** As the kernel: no path is longer. */
const MAX_NAME_BYTES = 4095;

/** More entries than any real image has; each costs memory here and an inode there. */
const MAX_ENTRIES = 10_000_000;

const TYPES: Readonly<Record<string, EntryType>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  S: "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

const NO_XATTRS: ReadonlyMap<string, string> = new Map();

/**
 * Reads a tar that comes in pieces: ustar, pax (x and g headers) and GNU (long names, base-256 numbers, sparse files of
 * all four formats).
 *
 * @throws EngineError `invalid_argument` from `feed` and `end` for what is no tar, or one that ends early
 */
export class TarReader {
  private readonly sink: TarSink;
  /** What is left of a header block or an extension that came in pieces. */
  private pending: Buffer = Buffer.alloc(0);
  private state: "header" | "extension" | "sparse-table" | "sparse-map" | "content" | "done" = "header";
  private extension = { typeflag: "", size: 0 };
  /** Bytes of content and of the padding after it that are still to come. */
  private contentLeft = 0;
  private paddingLeft = 0;
  private globals: PaxRecords = new Map();
  private records: PaxRecords = new Map();
  private longName: string | undefined;
  private longLink: string | undefined;
  private entries = 0;
  /** The entry whose parts are being learnt, and then put in their places. */
  private sparse:
    | { entry: TarEntry; segments: Segment[]; map: SparseMapReader; content?: SparseContent }
    | undefined;

  constructor(sink: TarSink) {
    this.sink = sink;
  }

  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) at = this.step(chunk, at);
  }

  /** The input has ended. */
  end(): void {
    if (this.state === "done") return;
    // An archive may lack its end blocks, and, as umoci writes it, the padding of its last entry, but not end within that.
    const between = this.state === "header" && this.pending.length === 0;
    if (!between) throw tarError("unexpected EOF");
  }

  private step(chunk: Buffer, at: number): number {
    if (this.state === "done") return chunk.length;
    if (this.state === "content" && this.contentLeft > 0) {
      const end = Math.min(chunk.length, at + this.contentLeft);
      const bytes = chunk.subarray(at, end);
      if (this.sparse?.content) this.sparse.content.feed(bytes);
      else this.sink.data(bytes);
      this.contentLeft -= end - at;
      if (this.contentLeft === 0) this.finishEntry();
      return end;
    }
    if (this.paddingLeft > 0) {
      const end = Math.min(chunk.length, at + this.paddingLeft);
      this.paddingLeft -= end - at;
      return end;
    }
    const wanted = this.state === "extension" ? this.extension.size : BLOCK_BYTES;
    const end = Math.min(chunk.length, at + wanted - this.pending.length);
    const piece = chunk.subarray(at, end);
    const whole = this.pending.length === 0 ? piece : Buffer.concat([this.pending, piece]);
    if (whole.length < wanted) {
      this.pending = Buffer.from(whole);
      return end;
    }
    if (this.pending.length > 0) this.pending = Buffer.alloc(0);
    if (this.state === "extension") this.takeExtension(whole);
    else if (this.state === "sparse-table") this.takeSparseTable(whole);
    else if (this.state === "sparse-map") this.takeSparseMap(whole);
    else this.takeHeader(whole);
    return end;
  }

  private takeHeader(block: Buffer): void {
    const header = parseHeader(block);
    if (!header) {
      this.state = "done";
      return;
    }
    const { typeflag, size } = header;
    if ("xgXLK".includes(typeflag)) {
      if (size > MAX_EXTENSION_BYTES) throw tarError("header field too long");
      this.extension = { typeflag, size };
      if (size === 0) this.takeExtension(Buffer.alloc(0));
      else this.state = "extension";
      return;
    }
    this.takeEntry(header, block);
  }

  private takeExtension(bytes: Buffer): void {
    const { typeflag, size } = this.extension;
    if (typeflag === "L") this.longName = cString(bytes);
    else if (typeflag === "K") this.longLink = cString(bytes);
    else if (typeflag === "g") this.takeGlobals(parsePax(bytes));
    else this.records = parsePax(bytes);
    this.paddingLeft = padding(size);
    this.state = "header";
  }

  /** Records for all entries that follow, which are remembered. */
  private takeGlobals(records: PaxRecords): void {
    let bytes = 0;
    for (const [key, value] of records) this.globals.set(key, value);
    for (const [key, value] of this.globals) bytes += key.length + value.length;
    if (bytes > MAX_EXTENSION_BYTES) throw tarError("global header fields too long");
  }

  private takeEntry(header: RawHeader, block: Buffer): void {
    if (++this.entries > MAX_ENTRIES) throw tarError(`more than ${MAX_ENTRIES} entries`);
    const entry = this.build(header);
    const sparse = entry.type === "file" ? paxSparse(this.records) : undefined;
    this.records = new Map();
    this.longName = undefined;
    this.longLink = undefined;
    if (entry.size < 0) throw tarError("invalid tar header");
    // Only files have content; what others claim is there all the same only for a few odd writers, and Go skips it.
    this.contentLeft = entry.type === "file" ? entry.size : 0;
    this.paddingLeft = padding(this.contentLeft);
    if (entry.type !== "file") entry.size = 0;
    if (header.typeflag === "S") this.beginOldSparse(entry, block);
    else if (sparse) this.beginPaxSparse(entry, sparse);
    else this.beginContent(entry);
  }

  private beginContent(entry: TarEntry): void {
    this.sink.entry(entry);
    if (this.contentLeft === 0) this.finishEntry();
    else this.state = "content";
  }

  private beginOldSparse(entry: TarEntry, block: Buffer): void {
    const { segments, extended, realSize } = oldGnuSegments(block);
    entry.size = realSize;
    this.sparse = { entry, segments, map: new SparseMapReader() };
    if (extended) this.state = "sparse-table";
    else this.beginSparse(segments);
  }

  private takeSparseTable(block: Buffer): void {
    const { sparse } = this;
    if (!sparse) throw new Error("a table of parts without a sparse file");
    const { segments, extended } = oldGnuExtension(block);
    sparse.segments.push(...segments);
    if (!extended) this.beginSparse(sparse.segments);
  }

  private beginPaxSparse(entry: TarEntry, { name, realSize, segments }: PaxSparse): void {
    if (name !== undefined) entry.name = name;
    entry.size = realSize;
    this.sparse = { entry, segments: [], map: new SparseMapReader() };
    if (segments === "in-content") this.state = "sparse-map";
    else this.beginSparse(segments);
  }

  private takeSparseMap(block: Buffer): void {
    this.contentLeft -= block.length;
    if (this.contentLeft < 0) throw tarError("invalid map of a sparse file");
    const segments = this.sparse?.map.feed(block);
    if (segments) this.beginSparse(segments);
  }

  private beginSparse(segments: Segment[]): void {
    const { sink, sparse } = this;
    if (!sparse || !sink.hole) throw tarError("sparse files are not supported");
    sparse.content = new SparseContent(segments, sparse.entry, this.contentLeft, {
      data: (bytes) => sink.data(bytes),
      hole: (length) => sink.hole?.(length),
    });
    this.beginContent(sparse.entry);
  }

  private build(header: RawHeader): TarEntry {
    const { typeflag } = header;
    let type = TYPES[typeflag];
    if (type === undefined) throw tarError(`unhandled tar header type ${typeflag.charCodeAt(0)}`);
    const mtimeNs = BigInt(header.mtimeSeconds) * 1_000_000_000n;
    const entry: TarEntry = {
      name: this.longName ?? header.name,
      type,
      linkName: this.longLink ?? header.linkName,
      mode: header.mode & 0o7777,
      uid: header.uid,
      gid: header.gid,
      size: header.size,
      mtimeNs,
      atimeNs: mtimeNs,
      major: header.major,
      minor: header.minor,
      xattrs: NO_XATTRS,
    };
    if (this.globals.size > 0) applyPax(entry, new Map([...this.globals, ...this.records]));
    else if (this.records.size > 0) applyPax(entry, this.records);
    // Before there was a type for them, directories were files with a slash at the end.
    if (type === "file" && entry.name.endsWith("/")) type = "directory";
    if (entry.name.length > MAX_NAME_BYTES || entry.linkName.length > MAX_NAME_BYTES) {
      throw tarError(`a name of more than ${MAX_NAME_BYTES} bytes`);
    }
    return { ...entry, type };
  }

  private finishEntry(): void {
    this.state = "header";
    this.sparse?.content?.end();
    this.sparse = undefined;
    this.sink.entryEnd();
  }
}

const padding = (size: number) => (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;

function cString(bytes: Buffer): string {
  const nul = bytes.indexOf(0);
  return bytes.toString("latin1", 0, nul === -1 ? bytes.length : nul);
}
