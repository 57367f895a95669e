import type { PaxRecords } from "./pax.ts";
import { type TarEntry, tarError, tarNumber } from "./tar-header.ts";

/** A part of a file that is in the archive; what lies between the parts is holes. */
export interface Segment {
  offset: number;
  length: number;
}

/** How an old GNU header says where its file's parts are. @see GNU tar manual, "Storing Sparse Files", "Old GNU Format" */
const OLD_GNU = { first: 386, firstCount: 4, extended: 482, realSize: 483, nextCount: 21, nextExtended: 504 };
const OLD_GNU_ENTRY_BYTES = 24;
/** More parts than that no real file has; each costs memory. */
const SEGMENTS_MAX = 1 << 20;

/** The parts that a header of type `S` names, and whether a block with more of them follows. */
export function oldGnuSegments(block: Buffer): { segments: Segment[]; extended: boolean; realSize: number } {
  return {
    segments: tableOf(block, OLD_GNU.first, OLD_GNU.firstCount),
    extended: block[OLD_GNU.extended] === 1,
    realSize: tarNumber(block, OLD_GNU.realSize, OLD_GNU.realSize + 12),
  };
}

/** The same of a block that follows. */
export function oldGnuExtension(block: Buffer): { segments: Segment[]; extended: boolean } {
  return { segments: tableOf(block, 0, OLD_GNU.nextCount), extended: block[OLD_GNU.nextExtended] === 1 };
}

function tableOf(block: Buffer, start: number, count: number): Segment[] {
  const segments: Segment[] = [];
  for (let at = start; at < start + count * OLD_GNU_ENTRY_BYTES; at += OLD_GNU_ENTRY_BYTES) {
    if (block[at] === 0) break;
    segments.push({ offset: tarNumber(block, at, at + 12), length: tarNumber(block, at + 12, at + 24) });
  }
  return segments;
}

/** What pax records say of a sparse file; its map may stand before its content (format 1.0). */
export interface PaxSparse {
  name: string | undefined;
  realSize: number;
  segments: Segment[] | "in-content";
}

/**
 * @returns undefined for a file that isn't sparse
 * @see GNU tar manual, "PAX Format, Versions 0.0, 0.1, 1.0"
 */
export function paxSparse(records: PaxRecords): PaxSparse | undefined {
  const major = records.get("GNU.sparse.major");
  const map = records.get("GNU.sparse.map");
  if (major === undefined && map === undefined) return undefined;
  const size = records.get("GNU.sparse.realsize") ?? records.get("GNU.sparse.size");
  const base = { name: records.get("GNU.sparse.name"), realSize: whole(size ?? "") };
  if (major === "1" && records.get("GNU.sparse.minor") === "0") return { ...base, segments: "in-content" };
  if (map === undefined) throw tarError(`sparse file of an unknown version: GNU.sparse.major=${major}`);
  return { ...base, segments: segmentsOf(map === "" ? [] : map.split(",").map(whole)) };
}

/** The map of format 1.0, which comes in blocks: decimal numbers, one a line, the first of which is how many parts there are. */
export class SparseMapReader {
  private readonly numbers: number[] = [];
  private unfinished = "";

  /** @returns the parts when the map is complete */
  feed(block: Buffer): Segment[] | undefined {
    const lines = `${this.unfinished}${block.toString("latin1")}`.split("\n");
    this.unfinished = lines.pop() ?? "";
    for (const line of lines) {
      const [count] = this.numbers;
      if (count !== undefined && this.numbers.length > 2 * count) break;
      this.numbers.push(whole(line));
    }
    const [count] = this.numbers;
    if (count !== undefined && count > SEGMENTS_MAX) throw tooMany();
    if (count !== undefined && this.numbers.length > 2 * count) return segmentsOf(this.numbers.slice(1));
    // No number is that long.
    if (this.unfinished.length > 32) throw tarError("invalid map of a sparse file");
    return undefined;
  }
}

function segmentsOf(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0) throw tarError("invalid tar header");
  const segments: Segment[] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    segments.push({ offset: numbers[i] ?? 0, length: numbers[i + 1] ?? 0 });
  }
  return segments;
}

function whole(text: string): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw tarError("invalid tar header");
  return number;
}

function tooMany(): Error {
  return tarError(`sparse file with more than ${SEGMENTS_MAX} parts`);
}

/** Puts the parts of a file where they belong. */
export class SparseContent {
  private readonly segments: readonly Segment[];
  private readonly entry: TarEntry;
  private readonly to: { data(bytes: Buffer): void; hole(length: number): void };
  private index = 0;
  /** Where in the file the next byte belongs. */
  private position = 0;

  /** @throws EngineError `invalid_argument` for parts that overlap, lie outside the file, or are not as long as what is stored */
  constructor(
    segments: readonly Segment[],
    entry: TarEntry,
    storedBytes: number,
    to: { data(bytes: Buffer): void; hole(length: number): void },
  ) {
    if (segments.length > SEGMENTS_MAX) throw tooMany();
    let end = 0;
    let stored = 0;
    for (const { offset, length } of segments) {
      if (offset < end || offset + length > entry.size) throw tarError("invalid map of a sparse file");
      end = offset + length;
      stored += length;
    }
    if (stored !== storedBytes) throw tarError("invalid map of a sparse file");
    this.segments = segments.filter(({ length }) => length > 0);
    this.entry = entry;
    this.to = to;
  }

  feed(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const segment = this.segments[this.index];
      if (!segment) throw tarError("invalid map of a sparse file");
      this.skipTo(segment.offset);
      const take = Math.min(bytes.length - at, segment.offset + segment.length - this.position);
      this.to.data(bytes.subarray(at, at + take));
      this.position += take;
      at += take;
      if (this.position === segment.offset + segment.length) this.index++;
    }
  }

  end(): void {
    this.skipTo(this.entry.size);
  }

  private skipTo(offset: number): void {
    if (offset <= this.position) return;
    this.to.hole(offset - this.position);
    this.position = offset;
  }
}
