import { expect, test } from "bun:test";
import { encodeFrame, StdioFrameDecoder } from "./frame.ts";

test("encodeFrame() writes Docker's eight-byte header", () => {
  expect(encodeFrame(2, Buffer.from("abc")).toString("hex")).toBe("0200000000000003616263");
});

test("StdioFrameDecoder gives every payload byte to its stream however the bytes are cut", () => {
  const bytes = Buffer.concat([
    encodeFrame(1, Buffer.from("out")),
    encodeFrame(2, Buffer.from("error")),
    encodeFrame(1, Buffer.from("put")),
    encodeFrame(0, Buffer.alloc(0)),
  ]);
  for (let size = 1; size <= bytes.length; size++) {
    const text = ["", "", ""];
    const empty: number[] = [];
    const decoder = new StdioFrameDecoder({
      data: (stream, piece) => {
        text[stream] += Buffer.from(piece).toString();
      },
      empty: (stream) => empty.push(stream),
    });
    for (let at = 0; at < bytes.length; at += size) decoder.push(bytes.subarray(at, at + size));
    expect(text).toEqual(["", "output", "error"]);
    expect(empty).toEqual([0]);
  }
});
