import { afterAll, expect } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { expectRefused, fuzz, mutated } from "@longshore/fuzz";
import fc from "fast-check";
import { requestHeaders, UnaryChannel } from "./channel.ts";
import { encodeFrame, FrameReader, FrameType, u32 } from "./frame.ts";
import { encodeHeaders, HpackDecoder } from "./hpack.ts";

const PATH = "/package.Service/Method";
const isHpack = (error: unknown) => error instanceof Error && error.message.startsWith("HPACK");
const isHttp2 = (error: unknown) => error instanceof Error && error.message.startsWith("HTTP/2");

const block = encodeHeaders([
  [":status", "200"],
  ["content-type", "application/grpc"],
  ["grpc-status", "0"],
  ["grpc-message", "some words"],
]);

fuzz(
  "HpackDecoder.decode() reads any blocks one after the other, or refuses one",
  fc.property(
    fc.array(fc.oneof(fc.uint8Array({ maxLength: 100 }), mutated(block)), { maxLength: 4 }),
    (blocks) => {
      const decoder = new HpackDecoder();
      expectRefused(() => {
        for (const bytes of blocks) decoder.decode(bytes);
      }, isHpack);
    },
  ),
  { runs: 2000 },
);

const frame = fc.oneof(
  fc
    .tuple(fc.nat(12), fc.nat(255), fc.nat(5), fc.uint8Array({ maxLength: 40 }))
    .map(([type, flags, streamId, payload]) => encodeFrame(type, flags, streamId, payload)),
  fc
    .tuple(fc.nat(255), mutated(block))
    .map(([flags, bytes]) => encodeFrame(FrameType.headers, flags, 1, bytes)),
  fc.constant(encodeFrame(FrameType.data, 1, 1, Buffer.from([0, 0, 0, 0, 1, 7]))),
  fc.constant(encodeFrame(FrameType.settings, 0, 0, Buffer.from([0, 4, 0xff, 0xff, 0xff, 0xff]))),
  fc.constant(encodeFrame(FrameType.windowUpdate, 0, 0, u32(0x7fffffff))),
);

fuzz(
  "FrameReader.read() finds the same frames however the bytes are cut, or refuses them",
  fc.property(fc.array(frame, { maxLength: 6 }), fc.integer({ min: 1, max: 60 }), (frames, pieceBytes) => {
    const bytes = Buffer.concat(frames);
    const read = (pieces: Buffer[]) =>
      expectRefused(() => {
        const reader = new FrameReader();
        return pieces.flatMap((piece) =>
          [...reader.read(piece)].map(({ type, payload }) => [type, payload.toString("hex")]),
        );
      }, isHttp2);
    const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
      bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
    );
    expect(read(pieces)).toEqual(read([bytes]) as never);
  }),
  { runs: 1000 },
);

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-http2-"));
const socket = path.join(dir, "s");
/** What the server answers to the next connection. */
let answer = Buffer.alloc(0);
const server = Bun.listen({
  unix: socket,
  socket: {
    data(peer) {
      peer.end(answer);
    },
  },
});
afterAll(() => {
  server.stop(true);
  fs.rmSync(dir, { recursive: true });
});

fuzz(
  "UnaryChannel.call() ends with an answer or an EngineError, whatever the server sends",
  fc.asyncProperty(fc.array(frame, { maxLength: 8 }), async (frames) => {
    answer = Buffer.concat(frames);
    const channel = new UnaryChannel(socket);
    try {
      await channel.call({
        path: PATH,
        headers: requestHeaders(PATH, {}),
        message: Buffer.from("request"),
        timeoutMs: 2000,
      });
    } catch (error) {
      if (!(error instanceof EngineError) || error.code === "deadline_exceeded") throw error;
    } finally {
      channel.close();
    }
  }),
  { runs: 300 },
);
