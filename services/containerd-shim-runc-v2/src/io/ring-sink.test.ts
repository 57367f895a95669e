import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ring, RingSink } from "./ring-sink.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-ring-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** A sink that takes one write, and the next only when it is told to. */
function slowSink() {
  const taken: string[] = [];
  let onRoom: () => void = () => {};
  const state = { slow: true, ended: false };
  const open = (room: () => void) => {
    onRoom = room;
    return {
      write(bytes: Uint8Array) {
        taken.push(Buffer.from(bytes).toString());
        return !state.slow;
      },
      end: () => {
        state.ended = true;
      },
      close() {},
    };
  };
  return { taken, state, open, room: () => onRoom() };
}

test("RingSink hands on what there is room for, drops whole lines beyond it, and counts them", () => {
  const droppedFile = path.join(dir, "dropped");
  const slow = slowSink();
  const ring = new Ring(20, droppedFile);
  const sink = new RingSink(ring, slow.open);
  const write = (text: string) => expect(sink.write(Buffer.from(text))).toBe(true);
  write("first\n"); // taken, and from now on it is slow
  write("second\nthird\n");
  write("fourth\nfif"); // room for one more
  write("th\nsixth\n"); // the fifth line has lost its beginning
  expect(ring.dropped).toBe(2);
  slow.state.slow = false;
  slow.room();
  write("seventh\n");
  expect(slow.taken.join("")).toBe("first\nsecond\nthird\nfourth\nseventh\n");
  sink.end();
  expect(slow.state.ended).toBe(true);
  expect(fs.readFileSync(droppedFile, "utf8")).toBe("2\n");
});

test("RingSink tears no line, whatever way its bytes are cut, and hands on what ends without a newline", () => {
  const lines = Array.from({ length: 5000 }, (_, n) => `line ${n} ${"x".repeat(n % 90)}`);
  const all = Buffer.from(`${lines.join("\n")}\nlast`);
  for (const step of [1, 7, 300, 5000]) {
    const slow = slowSink();
    const ring = new Ring(1000, undefined);
    const sink = new RingSink(ring, slow.open);
    for (let at = 0, n = 0; at < all.length; at += step, n++) {
      sink.write(all.subarray(at, at + step));
      if (n % 3 === 0) slow.room();
    }
    slow.state.slow = false;
    slow.room();
    sink.end();
    const taken = slow.taken.join("").split("\n");
    expect(taken.at(-1)).toBe("last");
    expect(taken.slice(0, -1).filter((line) => !lines.includes(line))).toEqual([]);
    expect(taken.length - 1 + ring.dropped).toBe(lines.length);
    expect(slow.state.ended).toBe(true);
  }
});

test("RingSink hands a very long line on in pieces, or drops it whole", () => {
  const long = Buffer.alloc(100 << 10, "y");
  const slow = slowSink();
  const ring = new Ring(1000, undefined);
  const sink = new RingSink(ring, slow.open);
  sink.write(long); // taken, and from now on it is slow
  sink.write(Buffer.from("\n"));
  sink.write(long);
  sink.write(Buffer.from("y\nafter\n"));
  slow.state.slow = false;
  slow.room();
  expect(slow.taken.join("")).toBe(`${long}\nafter\n`);
  expect(ring.dropped).toBe(1);
});

test("RingSink ends its sink only when all was handed on, and forgets it when it is closed", () => {
  const slow = slowSink();
  const ring = new Ring(100, undefined);
  const sink = new RingSink(ring, slow.open);
  sink.write(Buffer.from("a\n"));
  sink.write(Buffer.from("b\n"));
  sink.end();
  expect(slow.state.ended).toBe(false);
  slow.room();
  slow.room();
  expect(slow.state.ended).toBe(true);
  expect(slow.taken).toEqual(["a\n", "b\n"]);

  const other = new RingSink(ring, slowSink().open);
  other.write(Buffer.from("c\n"));
  other.write(Buffer.from("d\ne\n"));
  other.close();
  expect([ring.bytes, ring.dropped]).toEqual([0, 2]);
});
