import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DiskQueue } from "./disk-queue.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-queue-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

const event = (id: string, payload = "{}") => ({ subject: "s", id, payload });

function drain(queue: DiskQueue): string[] {
  const ids: string[] = [];
  while (!queue.isEmpty) {
    const { events, bytes } = queue.peek();
    ids.push(...events.map((e) => e.id));
    queue.drop(bytes);
  }
  return ids;
}

test("DiskQueue gives events back in order, also to the next process, and leaves no file", () => {
  const file = path.join(dir, "order");
  const ids = Array.from({ length: 3000 }, (_, i) => `event-${i}`);
  const first = new DiskQueue({ path: file, limitBytes: 1 << 20 });
  for (const id of ids) first.push(event(id, `{"x":"${"y".repeat(50)}"}`));
  expect(drain(new DiskQueue({ path: file, limitBytes: 1 << 20 }))).toEqual(ids);
  expect(fs.existsSync(file)).toBe(false);
});

test("DiskQueue takes an event that is larger than its read size", () => {
  const queue = new DiskQueue({ path: path.join(dir, "big"), limitBytes: 1 << 20 });
  queue.push(event("big", "x".repeat(300_000)));
  queue.push(event("small"));
  expect(drain(queue)).toEqual(["big", "small"]);
});

test("DiskQueue refuses beyond its limit, exits later than others", () => {
  const queue = new DiskQueue({ path: path.join(dir, "full"), limitBytes: 100 });
  expect(queue.push(event("a"))).toBe(true);
  expect(queue.push(event("b", "x".repeat(100)))).toBe(false);
  expect(queue.push(event("exit", `{"topic":"/tasks/exit","x":"${"x".repeat(100)}"}`))).toBe(true);
  expect(queue.dropped).toBe(1);
  expect(drain(queue)).toEqual(["a", "exit"]);
});

test("DiskQueue passes over lines that a crash has torn", () => {
  const file = path.join(dir, "torn");
  fs.writeFileSync(file, `${JSON.stringify(event("a"))}\n{"subj\n${JSON.stringify(event("b"))}\n{"subject`);
  expect(drain(new DiskQueue({ path: file, limitBytes: 1 << 20 }))).toEqual(["a", "b"]);
});

test("DiskQueue whose file was taken by somebody else is empty, and begins another", () => {
  const file = path.join(dir, "taken");
  const queue = new DiskQueue({ path: file, limitBytes: 1 << 20 });
  queue.push(event("theirs"));
  fs.rmSync(file);
  expect(queue.peek()).toEqual({ events: [], bytes: 0 });
  expect(queue.isEmpty).toBe(true);
  queue.push(event("ours"));
  expect(drain(queue)).toEqual(["ours"]);
});

test("DiskQueue keeps whole events only on a disk without room", () => {
  const mount = path.join(dir, "small");
  fs.mkdirSync(mount);
  expect(Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", mount]).exitCode).toBe(0);
  try {
    const queue = new DiskQueue({ path: path.join(mount, "queue"), limitBytes: 1 << 20 });
    const one = (n: number) => event(`event-${n}`, "x".repeat(1000));
    let taken = 0;
    expect(() => {
      for (; taken < 20; taken++) queue.push(one(taken));
    }).toThrow(/ENOSPC|no space/i);
    expect(drain(queue)).toEqual(Array.from({ length: taken }, (_, n) => `event-${n}`));
    queue.push(one(99));
    expect(drain(queue)).toEqual(["event-99"]);
  } finally {
    Bun.spawnSync(["umount", mount]);
  }
});
