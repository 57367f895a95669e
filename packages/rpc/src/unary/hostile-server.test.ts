import { afterAll, afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { requestHeaders, UnaryChannel } from "./channel.ts";
import { END_HEADERS, encodeFrame, FrameType, MAX_FRAME_BYTES, u32 } from "./frame.ts";
import { encodeHeaders } from "./hpack.ts";

const METHOD = "/test.Echo/Call";
const FIRST_STREAM = 1;
const PING = encodeFrame(FrameType.ping, 0, 0, u32(1, 2));
/** A header `x` of 127 characters for the table, and a reference to it: RFC 7541, 6.2.1 and 6.1. */
const KEPT_HEADER = Buffer.concat([Buffer.of(0x40, 1, 0x78, 0x7f, 0), Buffer.alloc(127, "v")]);
const REFERENCE = 0x80 | 62;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "rpc-hostile-"));
const socket = path.join(dir, "s.sock");
const cleanUps: Array<() => unknown> = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

afterAll(() => fs.rmSync(dir, { recursive: true }));

/** A server that sends so many copies of these bytes to whoever connects, and reads nothing. */
function sender(bytes: Buffer, copies: number): void {
  const server = net.createServer({ pauseOnConnect: true }, (peer) => {
    peer.on("error", () => {});
    for (let i = 0; i < copies; i++) peer.write(bytes);
    cleanUps.push(() => peer.destroy());
  });
  server.listen(socket);
  cleanUps.push(() => server.close());
}

/** How a call ends to which the server sends these bytes. */
async function callWith(bytes: Buffer, copies = 1): Promise<EngineError> {
  sender(bytes, copies);
  const channel = new UnaryChannel(socket);
  cleanUps.push(() => channel.close());
  const headers = requestHeaders(METHOD, {});
  const call = channel.call({ path: METHOD, headers, message: Buffer.of(1), timeoutMs: 20_000 });
  const error = await call.then(() => undefined).catch((e: unknown) => e);
  if (!(error instanceof EngineError)) throw new Error(`the call ended with ${error}`);
  return error;
}

const settings = (id: number, value: number): Buffer => {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(id, 0);
  payload.writeUInt32BE(value, 2);
  return encodeFrame(FrameType.settings, 0, 0, payload);
};
const headers = (block: Buffer) => encodeFrame(FrameType.headers, END_HEADERS, FIRST_STREAM, block);
const startedHeaders = encodeFrame(FrameType.headers, 0, FIRST_STREAM, encodeHeaders([["a", "b"]]));
const longHeaders = headers(encodeHeaders([["x", "v".repeat(15_000)]]));

describe("UnaryChannel.call() ends the connection at once when the server sends", () => {
  const cases: Record<string, [why: string, bytes: Buffer, copies?: number]> = {
    "headers that stand for many times their bytes": [
      "HPACK: more than 1048576 bytes",
      headers(Buffer.concat([KEPT_HEADER, Buffer.alloc(12_000, REFERENCE)])),
    ],
    "headers that do not end": [
      "HTTP/2: a header block that is too long",
      Buffer.concat([
        startedHeaders,
        ...Array(100).fill(
          encodeFrame(FrameType.continuation, 0, FIRST_STREAM, Buffer.alloc(MAX_FRAME_BYTES)),
        ),
      ]),
    ],
    "empty parts of headers without end": [
      "HTTP/2: a header block that is too long",
      Buffer.concat([
        startedHeaders,
        ...Array(120_000).fill(encodeFrame(FrameType.continuation, 0, FIRST_STREAM, Buffer.alloc(0))),
      ]),
    ],
    "headers again and again": ["HTTP/2: too many headers of one answer", longHeaders, 100],
    "another frame inside headers": [
      "HTTP/2: headers that start or end badly",
      Buffer.concat([startedHeaders, PING]),
    ],
    "the rest of headers that did not start": [
      "HTTP/2: headers that start or end badly",
      encodeFrame(FrameType.continuation, END_HEADERS, FIRST_STREAM, Buffer.alloc(0)),
    ],
    "pings without reading the answers": ["HTTP/2: acknowledgements that nobody reads", PING, 100_000],
    "settings without reading the answers": [
      "HTTP/2: acknowledgements that nobody reads",
      encodeFrame(FrameType.settings, 0, 0, Buffer.alloc(0)),
      100_000,
    ],
    "a window of the connection beyond the largest": [
      "HTTP/2: a window of",
      encodeFrame(FrameType.windowUpdate, 0, 0, u32(2 ** 31 - 1)),
    ],
    "a window of the call beyond the largest": [
      "HTTP/2: a window of",
      encodeFrame(FrameType.windowUpdate, 0, FIRST_STREAM, u32(2 ** 31 - 1)),
    ],
    "a window that grows by nothing": [
      "HTTP/2: a window that grows by nothing",
      encodeFrame(FrameType.windowUpdate, 0, 0, u32(0)),
    ],
    "a setting for windows beyond the largest": [
      "HTTP/2: a window of 2147483648 bytes",
      settings(4, 2 ** 31),
    ],
    "a setting for frames without bytes": ["HTTP/2: frames of 0 bytes", settings(5, 0)],
    "a setting for frames beyond the largest": ["HTTP/2: frames of 16777216 bytes", settings(5, 2 ** 24)],
  };
  for (const [what, [why, bytes, copies]] of Object.entries(cases))
    test(what, async () => {
      const { code, message } = await callWith(bytes, copies);
      expect({ code, message }).toEqual({ code: "unavailable", message: expect.stringContaining(why) });
    });
});
