import crypto from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Readable, Writable } from "node:stream";
import { EngineError } from "@longshore/errors";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const FIN = 0x80;
const MASKED = 0x80;
const CONTROL_LIMIT_BYTES = 125;
const NORMAL_CLOSURE = 1000;
const PROTOCOL_ERROR = 1002;

/**
 * The headers that accept a websocket.
 * @throws EngineError `invalid_argument` for a request that asks for none, or for another version than 13
 * @see RFC 6455, section 4.2
 */
export function acceptWebsocket({ headers }: IncomingMessage): Record<string, string> {
  const key = headers["sec-websocket-key"];
  if (headers.upgrade?.toLowerCase() !== "websocket" || key === undefined) {
    throw new EngineError("invalid_argument", "not websocket protocol");
  }
  if (headers["sec-websocket-version"] !== "13") {
    throw new EngineError("invalid_argument", "missing or bad WebSocket Version");
  }
  const accept = crypto
    .createHash("sha1")
    .update(key + GUID)
    .digest("base64");
  return { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Accept": accept };
}

/** Both directions of a websocket as bare bytes: what its messages carry, whatever their bounds. */
export interface WebsocketStreams {
  input: Readable;
  output: Writable;
}

/**
 * @param text whether what is written goes in text messages, as clients before API 1.28 want it
 */
export function websocketStreams(
  { input: from, output: to }: { input: Readable; output: Writable },
  { text }: { text: boolean },
): WebsocketStreams {
  let closed = false;
  const sendClose = (code: number) => {
    if (closed) return;
    closed = true;
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    to.write(frame(CLOSE, payload));
    to.end();
  };
  const output = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      if (closed || to.destroyed || to.write(frame(text ? TEXT : BINARY, chunk))) return callback();
      const done = () => {
        to.off("drain", done);
        to.off("close", done);
        callback();
      };
      to.once("drain", done);
      to.once("close", done);
    },
    final(callback) {
      sendClose(NORMAL_CLOSURE);
      callback();
    },
  });
  const input = new Readable({ read: () => from.resume() });
  const decoder = new FrameDecoder({
    data: (payload) => {
      if (!input.push(payload)) from.pause();
    },
    ping: (payload) => {
      if (!closed) to.write(frame(PONG, payload));
    },
    close: () => {
      input.push(null);
      sendClose(NORMAL_CLOSURE);
    },
  });
  from.on("data", (chunk: Buffer) => {
    if (decoder.push(chunk)) return;
    sendClose(PROTOCOL_ERROR);
    from.destroy();
  });
  from.once("end", () => input.push(null));
  to.once("close", () => {
    if (!input.readableEnded) input.push(null);
    output.destroy();
  });
  return { input, output };
}

/** A whole message of a server: never masked. */
function frame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  let head: Buffer;
  if (length < 126) head = Buffer.from([FIN | opcode, length]);
  else if (length < 65_536) {
    head = Buffer.from([FIN | opcode, 126, 0, 0]);
    head.writeUInt16BE(length, 2);
  } else {
    head = Buffer.alloc(10);
    head[0] = FIN | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

interface FrameHandlers {
  data(payload: Buffer): void;
  ping(payload: Buffer): void;
  close(): void;
}

/** Reads a client's frames; a long one's payload is handed on as it comes, so that none is ever kept whole. */
class FrameDecoder {
  private readonly handlers: FrameHandlers;
  private rest: Buffer = Buffer.alloc(0);
  /** Of the data frame whose payload is coming. */
  private leftBytes = 0;
  private mask: Buffer = Buffer.alloc(4);
  private maskAt = 0;

  constructor(handlers: FrameHandlers) {
    this.handlers = handlers;
  }

  /** @returns false for what is no websocket */
  push(chunk: Buffer): boolean {
    let bytes = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk;
    for (;;) {
      if (this.leftBytes > 0) {
        const piece = bytes.subarray(0, this.leftBytes);
        if (piece.length > 0) this.handlers.data(this.unmask(piece));
        this.leftBytes -= piece.length;
        bytes = bytes.subarray(piece.length);
        if (this.leftBytes > 0) break;
      }
      const header = parseHeader(bytes);
      if (header === undefined) break;
      const { opcode, length, headBytes, isMasked } = header;
      // Clients must mask what they send.
      if (!isMasked) return false;
      if (opcode === TEXT || opcode === BINARY || opcode === CONTINUATION) {
        this.setMask(bytes, headBytes);
        this.leftBytes = length;
        bytes = bytes.subarray(headBytes);
        continue;
      }
      if (length > CONTROL_LIMIT_BYTES || ![CLOSE, PING, PONG].includes(opcode)) return false;
      if (bytes.length < headBytes + length) break;
      this.setMask(bytes, headBytes);
      const payload = this.unmask(bytes.subarray(headBytes, headBytes + length));
      bytes = bytes.subarray(headBytes + length);
      if (opcode === PING) this.handlers.ping(payload);
      if (opcode === CLOSE) this.handlers.close();
    }
    this.rest = Buffer.from(bytes);
    return true;
  }

  private setMask(bytes: Buffer, headBytes: number): void {
    this.mask = Buffer.from(bytes.subarray(headBytes - 4, headBytes));
    this.maskAt = 0;
  }

  private unmask(bytes: Buffer): Buffer {
    const clear = Buffer.from(bytes);
    for (let i = 0; i < clear.length; i++) {
      clear[i] = (clear[i] ?? 0) ^ (this.mask[this.maskAt] ?? 0);
      this.maskAt = (this.maskAt + 1) % 4;
    }
    return clear;
  }
}

/** @returns undefined while it isn't whole */
function parseHeader(bytes: Buffer) {
  if (bytes.length < 2) return undefined;
  const [first = 0, second = 0] = bytes;
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const isMasked = (second & MASKED) !== 0;
  const headBytes = 2 + lengthBytes + (isMasked ? 4 : 0);
  if (bytes.length < headBytes) return undefined;
  const length =
    lengthBytes === 2 ? bytes.readUInt16BE(2) : lengthBytes === 8 ? Number(bytes.readBigUInt64BE(2)) : short;
  return { opcode: first & 0x0f, length, headBytes, isMasked };
}
