import { EngineError } from "@longshore/errors";
import { MESSAGE_LIMIT_BYTES, tooLongToSend } from "../message-limit.ts";
import { AnswerBody, MESSAGE_HEADER_BYTES } from "./answer-body.ts";
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  encodeFrame,
  FRAME_HEADER_BYTES,
  type Frame,
  FrameReader,
  FrameType,
  MAX_FRAME_BYTES,
  u32,
  writeFrameHeader,
} from "./frame.ts";
import { type HeaderBlock, HeaderBlocks } from "./header-blocks.ts";
import { encodeHeaders, HEADERS_LIMIT_BYTES, sizeOf } from "./hpack.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const SETTINGS_ENABLE_PUSH = 2;
const SETTINGS_MAX_CONCURRENT_STREAMS = 3;
const SETTINGS_INITIAL_WINDOW_SIZE = 4;
const SETTINGS_MAX_FRAME_SIZE = 5;
const SETTING_BYTES = 6;
const CANCEL = 8;
const REFUSED_STREAM = 7;

const DEFAULT_WINDOW = 65_535;
/** What the peer may send before it is told to go on: answers are held in memory as a whole, so that nothing is gained by less. */
const OUR_WINDOW = 2 ** 31 - 1;
/** The largest window, and the largest setting for one (RFC 9113, 6.5.2 and 6.9.1). */
const MAX_WINDOW = 2 ** 31 - 1;
/** The largest frame that a peer may ask for (RFC 9113, 6.5.2). */
const MAX_FRAME_SETTING = 2 ** 24 - 1;
/** Answers to settings and pings that wait because the peer does not read them. */
const MAX_UNREAD_ACKS = 1000;
const MAX_STREAM_ID = 2 ** 31 - 1;
/** A longer timer would go off at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface UnaryRequest {
  /** `/package.Service/Method` */
  readonly path: string;
  /** Header block of all but the deadline. */
  readonly headers: Buffer;
  readonly message: Uint8Array;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** What came of a call: the answer's message, and what the trailers say. */
export interface UnaryAnswer {
  readonly trailers: ReadonlyMap<string, string>;
  /** With the five bytes before each message. */
  readonly body: Buffer;
}

/** The server has not looked at the call: it can be made again. */
export class NotProcessed extends EngineError {}

interface Stream {
  id: number;
  readonly request: UnaryRequest;
  readonly answer: PromiseWithResolvers<UnaryAnswer>;
  /** What is still to be sent, and how much of it the peer takes. */
  unsent: Buffer;
  window: number;
  readonly trailers: Map<string, string>;
  /** Of the names and values of all its header blocks. */
  headerBytes: number;
  readonly body: AnswerBody;
}

/** One HTTP/2 connection that carries unary gRPC calls, any number at once; RFC 9113. */
export class UnaryConnection {
  readonly #socketPath: string;
  readonly #reader = new FrameReader();
  readonly #blocks = new HeaderBlocks();
  readonly #streams = new Map<number, Stream>();
  /** More than the peer takes at once. */
  readonly #waiting: Stream[] = [];
  readonly #unwritten: Buffer[] = [];
  #socket: Bun.Socket<undefined> | undefined;
  #nextId = 1;
  #window = DEFAULT_WINDOW;
  #received = 0;
  /** The peer's settings. */
  #streamWindow = DEFAULT_WINDOW;
  #frameBytes = MAX_FRAME_BYTES;
  #maxStreams = Number.POSITIVE_INFINITY;
  /** Answers to settings and pings since the peer last read all that was sent. */
  #unreadAcks = 0;
  #ended = false;
  #leaving = false;

  private constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** @throws EngineError `unavailable` when nothing listens there */
  static async open(socketPath: string): Promise<UnaryConnection> {
    const connection = new UnaryConnection(socketPath);
    try {
      await Bun.connect<undefined>({
        unix: socketPath,
        socket: {
          binaryType: "buffer",
          open: (socket) => connection.#opened(socket),
          data: (_, chunk) => connection.#take(chunk),
          drain: () => connection.#drained(),
          close: () => connection.#end(),
          error: (_, error) => connection.#end(error),
        },
      });
    } catch (error) {
      throw unavailable(socketPath, error);
    }
    return connection;
  }

  /** Whether new calls can be made. */
  get usable(): boolean {
    return !this.#ended && !this.#leaving;
  }

  /** End the connection; calls under way fail as `unavailable`. */
  close(): void {
    this.#socket?.terminate();
    this.#end();
  }

  /**
   * @throws EngineError `deadline_exceeded`, `canceled`, or `unavailable` when the connection ends before the answer;
   *   NotProcessed when the call can be made again; `resource_exhausted` for a request or an answer
   *   over the limit
   */
  async call(request: UnaryRequest): Promise<UnaryAnswer> {
    if (request.message.byteLength > MESSAGE_LIMIT_BYTES) throw tooLongToSend(request.message.byteLength);
    if (!this.usable) throw this.#notProcessed();
    const answer = Promise.withResolvers<UnaryAnswer>();
    const { message, timeoutMs, signal, path } = request;
    const stream: Stream = {
      ...{ id: 0, request, answer, window: 0, trailers: new Map(), headerBytes: 0 },
      ...{ body: new AnswerBody(), unsent: framed(message) },
    };
    const give = (error: EngineError) => {
      this.#abandon(stream);
      answer.reject(error);
    };
    const abort = () => give(new EngineError("canceled", `${path} was canceled`, { cause: signal?.reason }));
    const late = () =>
      give(new EngineError("deadline_exceeded", `${path}: no answer within ${timeoutMs} ms`));
    const timer = timeoutMs <= MAX_TIMER_MS ? setTimeout(late, timeoutMs) : undefined;
    signal?.addEventListener("abort", abort, { once: true });
    if (this.#streams.size >= this.#maxStreams) this.#waiting.push(stream);
    else this.#begin(stream);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  #opened(socket: Bun.Socket<undefined>): void {
    this.#socket = socket;
    const settings = Buffer.alloc(2 * SETTING_BYTES);
    settings.writeUInt16BE(SETTINGS_ENABLE_PUSH, 0);
    settings.writeUInt16BE(SETTINGS_INITIAL_WINDOW_SIZE, SETTING_BYTES);
    settings.writeUInt32BE(OUR_WINDOW, SETTING_BYTES + 2);
    this.#write(
      Buffer.concat([
        PREFACE,
        encodeFrame(FrameType.settings, 0, 0, settings),
        encodeFrame(FrameType.windowUpdate, 0, 0, u32(OUR_WINDOW - DEFAULT_WINDOW)),
      ]),
    );
  }

  /** Send the headers and as much of the message as the peer takes, in one write. */
  #begin(stream: Stream): void {
    const { headers, timeoutMs } = stream.request;
    stream.id = this.#nextId;
    stream.window = this.#streamWindow;
    this.#nextId += 2;
    if (this.#nextId > MAX_STREAM_ID) this.#leaving = true;
    this.#streams.set(stream.id, stream);
    const block = Buffer.concat([headers, deadlineHeader(timeoutMs)]);
    this.#sendMore(stream, encodeFrame(FrameType.headers, END_HEADERS, stream.id, block));
  }

  #sendMore(stream: Stream, before?: Buffer): void {
    const frames = before ? [before] : [];
    while (stream.unsent.byteLength > 0) {
      const room = Math.min(stream.unsent.byteLength, this.#window, stream.window, this.#frameBytes);
      if (room <= 0) break;
      this.#window -= room;
      stream.window -= room;
      const last = room === stream.unsent.byteLength;
      const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
      const flags = last ? END_STREAM : 0;
      writeFrameHeader(header, 0, { type: FrameType.data, flags, streamId: stream.id, bytes: room });
      frames.push(header, stream.unsent.subarray(0, room));
      stream.unsent = stream.unsent.subarray(room);
    }
    if (frames.length > 0) this.#write(Buffer.concat(frames));
  }

  #sendAll(): void {
    for (const stream of this.#streams.values()) {
      if (this.#window <= 0) return;
      if (stream.unsent.byteLength > 0) this.#sendMore(stream);
    }
  }

  /** Nobody waits for this call any more. */
  #abandon(stream: Stream): void {
    const place = this.#waiting.indexOf(stream);
    if (place >= 0) this.#waiting.splice(place, 1);
    if (!this.#streams.has(stream.id)) return;
    this.#write(encodeFrame(FrameType.rstStream, 0, stream.id, u32(CANCEL)));
    this.#finish(stream);
  }

  #finish(stream: Stream): void {
    this.#streams.delete(stream.id);
    while (this.usable && this.#streams.size < this.#maxStreams) {
      const next = this.#waiting.shift();
      if (!next) break;
      this.#begin(next);
    }
    if (this.#leaving) this.#leave();
  }

  /** Calls that weren't begun are made elsewhere; the last of the others ends the connection. */
  #leave(): void {
    for (const { answer } of this.#waiting.splice(0)) answer.reject(this.#notProcessed());
    if (this.#streams.size === 0) this.#socket?.end();
  }

  #notProcessed(): NotProcessed {
    return new NotProcessed("unavailable", `${this.#socketPath}: the connection has ended`);
  }

  #take(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.read(chunk)) this.#handle(frame);
    } catch (error) {
      this.#end(error);
      this.#socket?.terminate();
    }
  }

  #handle(frame: Frame): void {
    const { type, flags, streamId, payload } = frame;
    const stream = this.#streams.get(streamId);
    const block = this.#blocks.take(frame);
    if (block) this.#headers(block);
    switch (type) {
      case FrameType.data:
        this.#count(frame.wireBytes);
        if (stream) this.#data(stream, payload);
        if (stream && flags & END_STREAM) this.#answered(stream);
        break;
      case FrameType.rstStream:
        if (stream) this.#reset(stream, payload.readUInt32BE(0));
        break;
      case FrameType.settings:
        if (flags & ACK) break;
        this.#settings(payload);
        this.#acknowledge(encodeFrame(FrameType.settings, ACK, 0, Buffer.alloc(0)));
        this.#sendAll();
        break;
      case FrameType.ping:
        if (!(flags & ACK)) this.#acknowledge(encodeFrame(FrameType.ping, ACK, 0, payload));
        break;
      case FrameType.goAway:
        this.#goAway(payload.readUInt32BE(0) & 0x7fffffff);
        break;
      case FrameType.windowUpdate:
        this.#widen(
          stream ?? (streamId === 0 ? "connection" : undefined),
          payload.readUInt32BE(0) & 0x7fffffff,
        );
        break;
    }
  }

  #headers({ streamId, headers, isLast }: HeaderBlock): void {
    const stream = this.#streams.get(streamId);
    if (!stream) return; // it was given up
    for (const header of headers) {
      stream.headerBytes += sizeOf(header);
      stream.trailers.set(...header);
    }
    if (stream.headerBytes > HEADERS_LIMIT_BYTES) throw new Error("HTTP/2: too many headers of one answer");
    if (isLast) this.#answered(stream);
  }

  /** Keep a part of an answer. An answer over the limit ends the call before all of it has come. */
  #data(stream: Stream, payload: Buffer): void {
    try {
      stream.body.push(payload);
    } catch (error) {
      stream.answer.reject(error);
      this.#abandon(stream);
    }
  }

  /** The peer takes more, of one call or on the whole connection. */
  #widen(of: Stream | "connection" | undefined, bytes: number): void {
    if (bytes === 0) throw new Error("HTTP/2: a window that grows by nothing");
    if (of === "connection") this.#window = checkedWindow(this.#window + bytes);
    else if (of) of.window = checkedWindow(of.window + bytes);
    this.#sendAll();
  }

  /** Answer to settings or a ping. A peer that asks on and on without reading would fill the memory. */
  #acknowledge(frame: Buffer): void {
    this.#unreadAcks = this.#unwritten.length === 0 ? 0 : this.#unreadAcks + 1;
    if (this.#unreadAcks > MAX_UNREAD_ACKS) throw new Error("HTTP/2: acknowledgements that nobody reads");
    this.#write(frame);
  }

  /** The peer may send a lot; when half of it was, it may send that again. */
  #count(bytes: number): void {
    this.#received += bytes;
    if (this.#received < OUR_WINDOW / 2) return;
    this.#write(encodeFrame(FrameType.windowUpdate, 0, 0, u32(this.#received)));
    this.#received = 0;
  }

  #answered(stream: Stream): void {
    // An answer that comes before the whole request was sent ends it all the same.
    if (stream.unsent.byteLength > 0)
      this.#write(encodeFrame(FrameType.rstStream, 0, stream.id, u32(CANCEL)));
    this.#finish(stream);
    stream.answer.resolve({ trailers: stream.trailers, body: stream.body.bytes });
  }

  #reset(stream: Stream, code: number): void {
    this.#finish(stream);
    const { path } = stream.request;
    const text = `${path}: the server gave the call up (HTTP/2 error ${code})`;
    if (code === REFUSED_STREAM) stream.answer.reject(new NotProcessed("unavailable", text));
    else stream.answer.reject(new EngineError(code === CANCEL ? "canceled" : "internal", text));
  }

  #settings(payload: Buffer): void {
    for (let at = 0; at + SETTING_BYTES <= payload.byteLength; at += SETTING_BYTES) {
      const value = payload.readUInt32BE(at + 2);
      switch (payload.readUInt16BE(at)) {
        case SETTINGS_MAX_CONCURRENT_STREAMS:
          this.#maxStreams = Math.max(1, value);
          break;
        case SETTINGS_INITIAL_WINDOW_SIZE:
          checkedWindow(value);
          for (const stream of this.#streams.values())
            stream.window = checkedWindow(stream.window + value - this.#streamWindow);
          this.#streamWindow = value;
          break;
        case SETTINGS_MAX_FRAME_SIZE:
          if (value < MAX_FRAME_BYTES || value > MAX_FRAME_SETTING)
            throw new Error(`HTTP/2: frames of ${value} bytes`);
          this.#frameBytes = value;
          break;
      }
    }
  }

  /** The peer takes no new calls, and has not taken those after the last that it names. */
  #goAway(lastId: number): void {
    this.#leaving = true;
    for (const stream of [...this.#streams.values()]) {
      if (stream.id <= lastId) continue;
      this.#streams.delete(stream.id);
      stream.answer.reject(this.#notProcessed());
    }
    this.#leave();
  }

  #end(cause?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const streams = [...this.#streams.values()];
    const waiting = this.#waiting.splice(0);
    this.#streams.clear();
    for (const { answer } of streams) answer.reject(unavailable(this.#socketPath, cause));
    for (const { answer } of waiting) answer.reject(this.#notProcessed());
  }

  /** In order, also when the socket takes only a part; a closed one takes nothing, and says so by itself. */
  #write(bytes: Buffer): void {
    if (this.#unwritten.length === 0) {
      const written = Math.max(0, this.#socket?.write(bytes) ?? 0);
      if (written < bytes.byteLength) this.#unwritten.push(bytes.subarray(written));
    } else this.#unwritten.push(bytes);
  }

  #drained(): void {
    for (let next = this.#unwritten.shift(); next; next = this.#unwritten.shift()) {
      const written = Math.max(0, this.#socket?.write(next) ?? 0);
      if (written < next.byteLength) {
        this.#unwritten.unshift(next.subarray(written));
        return;
      }
    }
  }
}

/** @throws Error for a window beyond the largest */
function checkedWindow(bytes: number): number {
  if (bytes > MAX_WINDOW) throw new Error(`HTTP/2: a window of ${bytes} bytes`);
  return bytes;
}

/** A message as gRPC sends it: not compressed, its length before it. */
function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(MESSAGE_HEADER_BYTES + message.byteLength);
  frame[0] = 0;
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, MESSAGE_HEADER_BYTES);
  return frame;
}

const deadlines = new Map<number, Buffer>();

/** At most eight digits before the unit, says gRPC. */
function deadlineHeader(timeoutMs: number): Buffer {
  const known = deadlines.get(timeoutMs);
  if (known) return known;
  if (!Number.isFinite(timeoutMs)) return Buffer.alloc(0);
  const ms = Math.max(1, Math.ceil(timeoutMs));
  const value = ms < 1e8 ? `${ms}m` : `${Math.min(99_999_999, Math.ceil(ms / 1000))}S`;
  const header = encodeHeaders([["grpc-timeout", value]]);
  if (deadlines.size < 64) deadlines.set(timeoutMs, header);
  return header;
}

function unavailable(socketPath: string, cause: unknown): EngineError {
  const why = cause instanceof Error ? cause.message : "the connection has ended";
  return new EngineError("unavailable", `${socketPath}: ${why}`, { cause });
}
