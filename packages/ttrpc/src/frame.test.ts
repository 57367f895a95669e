import { expect, test } from "bun:test";
import { encodeFrame, type Frame, FrameDecoder, FrameType, MAX_BODY_BYTES } from "./frame.ts";

function decodeAll(chunks: Uint8Array[]): { frames: Frame[]; oversized: number[][] } {
  const frames: Frame[] = [];
  const oversized: number[][] = [];
  const decoder = new FrameDecoder({
    frame: (frame) => frames.push(frame),
    oversized: (...head) => oversized.push(head),
  });
  for (const chunk of chunks) decoder.push(chunk);
  return { frames, oversized };
}

test("encodeFrame() writes ttrpc's ten-byte header", () => {
  expect(encodeFrame(5, FrameType.response, Buffer.from("ab"), 1).toString("hex")).toBe(
    `${"00000002"}${"00000005"}02016162`,
  );
});

test("FrameDecoder finds the same frames however the bytes are cut", () => {
  const bytes = Buffer.concat([
    encodeFrame(1, FrameType.request, Buffer.from("hello")),
    encodeFrame(3, FrameType.request, Buffer.alloc(0)),
    encodeFrame(5, FrameType.data, Buffer.from("x"), 4),
  ]);
  for (let size = 1; size <= bytes.length; size++) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    expect(decodeAll(chunks).frames.map((f) => [f.streamId, f.type, f.flags, f.body.toString()])).toEqual([
      [1, 1, 0, "hello"],
      [3, 1, 0, ""],
      [5, 3, 4, "x"],
    ]);
  }
});

test("FrameDecoder skips a body beyond 4 MiB and goes on with the next frame", () => {
  const head = encodeFrame(7, FrameType.request, Buffer.alloc(0));
  head.writeUInt32BE(MAX_BODY_BYTES + 1, 0);
  const { frames, oversized } = decodeAll([
    head,
    Buffer.alloc(MAX_BODY_BYTES),
    Buffer.concat([Buffer.alloc(1), encodeFrame(9, FrameType.request, Buffer.from("next"))]),
  ]);
  expect(oversized).toEqual([[7, FrameType.request, MAX_BODY_BYTES + 1]]);
  expect(frames.map((f) => f.body.toString())).toEqual(["next"]);
});

test("encodeFrame() refuses a body beyond 4 MiB", () => {
  expect(() => encodeFrame(1, FrameType.request, Buffer.alloc(MAX_BODY_BYTES + 1))).toThrow(
    "exceed maximum message size",
  );
});
