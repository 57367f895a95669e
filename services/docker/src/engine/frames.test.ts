import { expect, test } from "bun:test";
import fc from "fast-check";
import { FrameSplitter } from "./frames.ts";

function frame(stream: number, data: string): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream);
  header.writeUInt32BE(Buffer.byteLength(data), 4);
  return Buffer.concat([header, Buffer.from(data)]);
}

test("FrameSplitter sends each stream where it belongs, however the bytes arrive", () => {
  const frames = fc.array(fc.record({ stream: fc.constantFrom(1, 2), data: fc.string() }));
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (sent, sizes) => {
      const bytes = Buffer.concat(sent.map(({ stream, data }) => frame(stream, data)));
      const seen: Record<1 | 2, Buffer[]> = { 1: [], 2: [] };
      const splitter = new FrameSplitter((fd, data) => seen[fd].push(Buffer.from(data)));
      for (let at = 0, i = 0; at < bytes.length; i += 1) {
        const size = sizes[i % sizes.length] ?? 1;
        splitter.push(bytes.subarray(at, at + size));
        at += size;
      }
      for (const fd of [1, 2] as const) {
        const expected = sent.filter(({ stream }) => stream === fd).map(({ data }) => data);
        expect(Buffer.concat(seen[fd]).toString()).toBe(Buffer.from(expected.join("")).toString());
      }
    }),
  );
});

test("FrameSplitter throws the engine's own error, and for a stream that does not exist", () => {
  const splitter = new FrameSplitter(() => undefined);
  expect(() => splitter.push(frame(3, "no space left"))).toThrow(
    "error from daemon in stream: no space left",
  );
  expect(() => new FrameSplitter(() => undefined).push(frame(9, "x"))).toThrow("unrecognized stream: 9");
});
