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

test("RingSink ends a line whose rest it drops", () => {
  const slow = slowSink();
  const ring = new Ring(10, undefined);
  const sink = new RingSink(ring, slow.open);
  const write = (text: string) => sink.write(Buffer.from(text));
  write("x\n");
  write("begin");
  write(" and far too long\nnext line that is long\n");
  slow.state.slow = false;
  slow.room();
  write("after\n");
  expect(slow.taken.join("")).toBe("x\nbegin\nafter\n");
  expect(ring.dropped).toBe(2);
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
