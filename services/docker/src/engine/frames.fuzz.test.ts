import { expect } from "bun:test";
import { expectRefused, fuzz } from "@longshore/fuzz";
import fc from "fast-check";
import { FrameSplitter } from "./frames.ts";

fuzz(
  "FrameSplitter splits any bytes in the same way however they arrive, or refuses them",
  fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 30 }), (bytes, pieceBytes) => {
    const split = (size: number) => {
      const seen = { 1: "", 2: "" };
      const result = expectRefused(
        () => {
          const splitter = new FrameSplitter((fd, data) => {
            seen[fd] += Buffer.from(data).toString("hex");
          });
          for (let at = 0; at < bytes.length; at += size)
            splitter.push(Buffer.from(bytes.subarray(at, at + size)));
          return "read";
        },
        (error) => error instanceof Error && !(error instanceof TypeError) && !(error instanceof RangeError),
      );
      return { seen, result };
    };
    expect(split(pieceBytes)).toEqual(split(Math.max(1, bytes.length)));
  }),
  { runs: 1000 },
);
