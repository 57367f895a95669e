import {
  AT_EMPTY_PATH,
  addressOf,
  check,
  close,
  fixedBuffer,
  NR,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
  openFile,
  read,
  realTime,
  rename,
  stat,
  syscall,
} from "@longshore/syscalls";
import { rotateFiles, uncompressed } from "./rotated-files.ts";
import type { JsonFileLog } from "./uri.ts";

export type LogStream = "stdout" | "stderr";

/** Docker cuts lines that are longer than this into several entries, of which only the last ends with a newline. */
export const MAX_LINE_BYTES = 16384;

const EINTR = 4;
const SEEK_SET = 0;
const NEWLINE = 10;
/** Room for entries that are not written yet; an entry needs at most six bytes for one, and its frame. */
const OUT_BYTES = 256 << 10;
const ENTRY_BYTES = MAX_LINE_BYTES * 6 + 256;

/** What JSON (and Docker's writer) escapes among the bytes below 0x80; undefined is copied. Made for the first line. */
let escapes: (Buffer | undefined)[] | undefined;

function makeEscapes(): (Buffer | undefined)[] {
  return Array.from({ length: 128 }, (_, byte) => {
    if (byte === 10) return Buffer.from("\\n");
    if (byte === 13) return Buffer.from("\\r");
    if (byte === 9) return Buffer.from("\\t");
    if (byte === 34 || byte === 92) return Buffer.from(`\\${String.fromCharCode(byte)}`);
    const mustNot = byte < 32 || byte === 60 || byte === 62 || byte === 38;
    return mustNot ? Buffer.from(`\\u${byte.toString(16).padStart(4, "0")}`) : undefined;
  });
}

/** One for all logs of the process: it is empty between calls. */
let out: Buffer | undefined;
let outView: DataView = new DataView(new ArrayBuffer(8));
let outAddress = 0;
let outBytes = 0;

interface Carry {
  /** The line so far, without its end; grows as needed and is given back when empty. */
  bytes: Buffer | undefined;
  length: number;
  /** How the first part of a cut line ended: its other parts carry the same time. */
  since: Tails | undefined;
}

export interface JsonFileEvents {
  /** The disk fails. Told once until it works again. */
  onError: (error: unknown) => void;
  /** There are rotated files to compress: called for a log with `compress`, by the constructor too. */
  onRotated?: () => void;
}

/** A log that goes on in another program of the same process. Plain data. */
export interface SuspendedLog {
  /** The open file. */
  readonly fd: number;
  /** The beginnings of lines whose ends have not come yet, in base64. */
  readonly unfinished: Partial<Record<LogStream, string>>;
}

/**
 * Writes container output in the format of Docker's json-file driver, one entry a line, and rotates as it does: before
 * an entry that finds the file at its limit. Entries are in the file when `write` returns. A failing disk loses entries, and
 * never stops the caller.
 */
export class JsonFileWriter {
  readonly #log: JsonFileLog;
  readonly #events: JsonFileEvents;
  readonly #carries: Record<LogStream, Carry> = {
    stdout: { bytes: undefined, length: 0, since: undefined },
    stderr: { bytes: undefined, length: 0, since: undefined },
  };
  /** `"attrs":{…},` or nothing; the same in each entry. */
  readonly #attributes: string;
  /** An entry needs no more. */
  readonly #entryBytes: number;
  #fd: number;
  #size: number;
  #failing = false;

  /**
   * Opens the file for appending, with mode 0640 if it is new.
   *
   * @param suspended where an earlier program had it open: it may no longer be where it was
   */
  constructor(log: JsonFileLog, events: JsonFileEvents, suspended?: SuspendedLog) {
    this.#log = log;
    this.#events = events;
    this.#attributes = log.attributes ? `"attrs":${attributesJson(log.attributes)},` : "";
    this.#entryBytes = ENTRY_BYTES + Buffer.byteLength(this.#attributes);
    this.#fd = suspended?.fd ?? openLog(log.path);
    const { size } = stat("", AT_EMPTY_PATH, this.#fd);
    this.#size = suspended ? size : cutTorn(this.#fd, size, this.#entryBytes);
    for (const [stream, bytes] of Object.entries(suspended?.unfinished ?? {}))
      keep(this.#carries[stream as LogStream], Buffer.from(bytes, "base64"));
    // Left by one that was killed.
    if (log.compress && uncompressed(log.path, log.maxFiles ?? 1)) events.onRotated?.();
  }

  /** What another program needs to go on with this; undefined in the middle of a line that was cut. */
  get suspended(): SuspendedLog | undefined {
    const { stdout, stderr } = this.#carries;
    if (stdout.since || stderr.since) return undefined;
    const unfinished = {
      ...(stdout.bytes && { stdout: stdout.bytes.toString("base64", 0, stdout.length) }),
      ...(stderr.bytes && { stderr: stderr.bytes.toString("base64", 0, stderr.length) }),
    };
    return { fd: this.#fd, unfinished };
  }

  /** Add output. What follows the last newline waits for its line's end. */
  write(stream: LogStream, chunk: Uint8Array): void {
    const carry = this.#carries[stream];
    const tails = tailsOf(stream, this.#attributes);
    let at = 0;
    while (at < chunk.length) {
      if (carry.length === 0) {
        // Most of it, as long as there is room in the buffer and the file.
        const { maxSizeBytes = Number.POSITIVE_INFINITY } = this.#log;
        at = putLines(chunk, at, tails, Math.min(OUT_BYTES - this.#entryBytes, maxSizeBytes - this.#size));
        if (at === chunk.length) break;
      }
      const newline = chunk.indexOf(NEWLINE, at);
      const room = MAX_LINE_BYTES - carry.length;
      const end = newline < 0 ? chunk.length : newline;
      if (end - at > room) {
        this.#emit(carry, chunk, at, at + room, false, tails);
        at += room;
      } else if (newline >= 0) {
        this.#emit(carry, chunk, at, end, true, tails);
        at = newline + 1;
      } else {
        keep(carry, chunk.subarray(at, end));
        at = end;
        if (carry.length === MAX_LINE_BYTES) this.#emit(carry, chunk, 0, 0, false, tails);
      }
    }
    this.#flush();
  }

  /** The stream has ended: its last line, if it had no newline, is written as it is. */
  end(stream: LogStream): void {
    const carry = this.#carries[stream];
    if (carry.length > 0) this.#emit(carry, NOTHING, 0, 0, false, tailsOf(stream, this.#attributes));
    this.#flush();
  }

  close(): void {
    this.end("stdout");
    this.end("stderr");
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
  }

  /** One entry: what was carried, and some bytes of a chunk. */
  #emit(carry: Carry, chunk: Uint8Array, from: number, to: number, whole: boolean, now: Tails): void {
    const { maxSizeBytes = Number.POSITIVE_INFINITY } = this.#log;
    if (this.#size + outBytes >= maxSizeBytes) {
      this.#flush();
      this.#rotate();
    }
    if (outBytes + this.#entryBytes > OUT_BYTES) this.#flush();
    const tails = carry.since ?? now;
    put(HEAD);
    if (carry.bytes && carry.length > 0) {
      keep(carry, chunk.subarray(from, to));
      putEscaped(carry.bytes, 0, carry.length);
    } else {
      putEscaped(chunk, from, to);
    }
    put(whole ? tails.whole : tails.part);
    carry.length = 0;
    carry.bytes = undefined;
    carry.since = whole ? undefined : tails;
  }

  #flush(): void {
    if (!out || outBytes === 0) return;
    let done = 0;
    try {
      while (done < outBytes) {
        const n = syscall(NR.write, this.#fd, outAddress + done, outBytes - done);
        if (n !== -EINTR) done += check(n, "write", this.#log.path);
      }
      this.#size += outBytes;
      this.#failing = false;
    } catch (error) {
      // Of what found room only whole entries stay: a torn one would spoil the next.
      const whole = done === 0 ? 0 : out.lastIndexOf(NEWLINE, done - 1) + 1;
      if (whole < done) syscall(NR.ftruncate, this.#fd, this.#size + whole);
      this.#size += whole;
      this.#failed(error);
    }
    outBytes = 0;
  }

  #rotate(): void {
    const { path, maxFiles = 1, compress = false } = this.#log;
    try {
      if (maxFiles < 2) {
        check(syscall(NR.ftruncate, this.#fd, 0), "ftruncate", path);
      } else {
        // Made before the others are moved: on a disk without room all stays as it is.
        const fresh = openLog(`${path}.next`);
        if (!rotateFiles(path, maxFiles)) {
          close(fresh);
          return; // with the next entry
        }
        rename(`${path}.next`, path);
        close(this.#fd);
        this.#fd = fresh;
        if (compress) this.#events.onRotated?.();
      }
      this.#size = 0;
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#events.onError(error);
    this.#failing = true;
  }
}

function keep(carry: Carry, bytes: Uint8Array): void {
  const length = carry.length + bytes.length;
  if (!carry.bytes || carry.bytes.length < length) {
    const grown = Buffer.allocUnsafe(Math.min(MAX_LINE_BYTES, Math.max(256, length * 2)));
    if (carry.bytes) grown.set(carry.bytes.subarray(0, carry.length));
    carry.bytes = grown;
  }
  carry.bytes.set(bytes, carry.length);
  carry.length = length;
}

function buffer(): Buffer {
  if (!out) {
    out = fixedBuffer(OUT_BYTES);
    outView = new DataView(out.buffer);
    outAddress = addressOf(out);
  }
  return out;
}

/** What follows a line's bytes in its entry. */
interface Tails {
  whole: Uint8Array;
  part: Uint8Array;
  /** `whole` and a line's head behind it, eight bytes at a time. */
  between: Float64Array;
}

/** How much of it there may be in an entry. */
export const MAX_ATTRIBUTES_BYTES = 64 << 10;

/** All ASCII, so that entries can be put together eight bytes at a time. @throws RangeError for more than fits in an entry */
function attributesJson(attributes: Readonly<Record<string, string>>): string {
  const text = JSON.stringify(attributes).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  if (text.length > MAX_ATTRIBUTES_BYTES) throw new RangeError("the attributes of a log are too long");
  return text;
}

const HEAD = Buffer.from('{"log":"');
const NOTHING = new Uint8Array(0);

function tailsOf(stream: LogStream, attributes: string): Tails {
  const part = `","stream":"${stream}",${attributes}"time":"${timeString()}"}\n`;
  const whole = Buffer.from(`\\n${part}`);
  const between = new Float64Array(Math.ceil((whole.length + HEAD.length) / 8));
  const bytes = new Uint8Array(between.buffer);
  bytes.set(whole);
  bytes.set(HEAD, whole.length);
  return { whole, part: Buffer.from(part), between };
}

/**
 * Entries of the whole lines that begin at `from`, as quick as can be: bytes are looked at one by one, and what stands between two lines is
 * put there eight at a time (ASCII is never a number that isn't one, which the engine might write in another way).
 *
 * @param limit no entry begins here or behind in the buffer
 * @returns where the first line begins that is left: too long, without its end, or not all ASCII
 */
function putLines(chunk: Uint8Array, from: number, { whole, between }: Tails, limit: number): number {
  escapes ??= makeEscapes();
  const table = escapes;
  const target = buffer();
  const view = outView;
  const step = whole.length + HEAD.length;
  // The head of the first one; behind each line there is that of the next.
  let at = outBytes;
  if (at >= limit) return from;
  for (let k = 0; k < HEAD.length; k++) target[at++] = HEAD[k] as number;
  let left = from;
  while (at - HEAD.length < limit) {
    const end = Math.min(chunk.length, left + MAX_LINE_BYTES + 1);
    let next = left;
    let to = at;
    let byte = 0;
    for (; next < end; next++) {
      byte = chunk[next] as number;
      if (byte === NEWLINE || byte >= 128) break;
      const escaped = table[byte];
      if (escaped === undefined) target[to++] = byte;
      else for (let k = 0; k < escaped.length; k++) target[to++] = escaped[k] as number;
    }
    if (next === end || byte !== NEWLINE) break;
    for (let k = 0; k < between.length; k++) view.setFloat64(to + k * 8, between[k] as number, true);
    at = to + step;
    left = next + 1;
  }
  outBytes = at - HEAD.length;
  return left;
}

// Byte by byte: most lines are short, and a view or a native call for each would cost more than it saves.

function put(bytes: Uint8Array): void {
  const target = buffer();
  let at = outBytes;
  for (let i = 0; i < bytes.length; i++) target[at++] = bytes[i] as number;
  outBytes = at;
}

function putEscaped(bytes: Uint8Array, from: number, to: number): void {
  escapes ??= makeEscapes();
  const table = escapes;
  const target = buffer();
  let at = outBytes;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number;
    if (byte >= 128) {
      putBeyondAscii(bytes.subarray(from, to));
      return;
    }
    const escaped = table[byte];
    if (escaped === undefined) {
      target[at++] = byte;
    } else {
      for (let k = 0; k < escaped.length; k++) target[at++] = escaped[k] as number;
    }
  }
  outBytes = at;
}

let isUtf8: ((bytes: Uint8Array) => boolean) | undefined;

/** A line that is not all ASCII: as it is if it is UTF-8, else with the replacement character for what is not. */
function putBeyondAscii(line: Uint8Array): void {
  // Loaded when needed: the module would cost each shim 70 kB.
  isUtf8 ??= (require("node:buffer") as typeof import("node:buffer")).isUtf8;
  const bytes = isUtf8(line) ? line : Buffer.from(Buffer.from(line).toString("utf8"));
  const target = buffer();
  let at = outBytes;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const escaped = byte < 128 ? escapes?.[byte] : undefined;
    if (escaped === undefined) target[at++] = byte;
    else for (let k = 0; k < escaped.length; k++) target[at++] = escaped[k] as number;
  }
  outBytes = at;
}

function openLog(path: string): number {
  return openFile(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o640);
}

/** Cut off what a writer that was killed, or a power cut, left of an entry: it would spoil the next. Returns the size. */
function cutTorn(fd: number, size: number, entryBytes: number): number {
  if (size === 0 || readAt(fd, size - 1, 1)[0] === NEWLINE) return size;
  const from = Math.max(0, size - entryBytes);
  const whole = from + readAt(fd, from, size - from).lastIndexOf(NEWLINE) + 1;
  check(syscall(NR.ftruncate, fd, whole), "ftruncate");
  return whole;
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  check(syscall(NR.lseek, fd, position, SEEK_SET), "lseek");
  return bytes.subarray(0, read(fd, bytes));
}

/** The time in RFC 3339 with nine digits and no trailing zeros, as Go prints it. */
function timeString(): string {
  const { seconds, nanos } = realTime();
  const fraction = String(nanos).padStart(9, "0").replace(/0+$/, "");
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}${fraction && `.${fraction}`}Z`;
}
