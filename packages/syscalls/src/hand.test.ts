import { expect, test } from "bun:test";
import { ELF_ENTRY, handCode } from "./hand-code.ts";
import { listedCode } from "./hand-code-listing.ts";
import {
  callProgram,
  close,
  fixedBuffer,
  Hand,
  pipe,
  programFile,
  programTable,
  read,
  waitPid,
  writeAll,
} from "./index.ts";

test("handCode() has the length and entry point that its jumps were assembled for", () => {
  expect(handCode().toString("hex")).toBe(listedCode());
  expect(handCode().length).toBe(0x114);
  expect(handCode()[ELF_ENTRY]).toBe(0x41);
});

test("Hand makes calls in another process, with results of earlier ones as arguments", () => {
  using hand = new Hand({ flags: 0 });
  const pid = hand.call("getpid", []);
  const missing = hand.call("openat", [-100, hand.text("/nonexistent"), 0], { skipOnError: 1 });
  hand.call("exit_group", [9]);
  const fd = hand.call("openat", [-100, hand.text("/dev/null"), 0]);
  hand.call("close", [fd]);
  hand.run();
  expect(hand.result(pid)).toBe(hand.pid);
  expect(hand.result(missing)).toBe(-2);
  expect(hand.result(fd)).toBeGreaterThan(2);
  hand.call("chdir", [hand.text("/nonexistent")], { about: "/nonexistent" });
  expect(() => hand.run()).toThrow("chdir /nonexistent: ENOENT");
});

test("Hand begins with calls while others are queued, and run() tells of both", () => {
  using hand = new Hand({ flags: 0 });
  const first = hand.call("getpid", []);
  hand.begin();
  const second = hand.call("getppid", []);
  hand.run();
  expect([hand.result(first), hand.result(second)]).toEqual([hand.pid, process.pid]);
  hand.call("chdir", [hand.text("/nonexistent")], { about: "/nonexistent" });
  hand.begin();
  const third = hand.call("getpid", []);
  expect(() => hand.run()).toThrow("chdir /nonexistent: ENOENT");
  hand.run();
  expect(hand.result(third)).toBe(hand.pid);
});

test("begin() leaves calls in the queue while the child is busy", () => {
  using hand = new Hand({ flags: 0 });
  const [readEnd, writeEnd] = pipe();
  const byte = hand.calls.arena.room(1);
  hand.call("read", [readEnd, hand.calls.arena.base + byte, 1]);
  hand.begin();
  const second = hand.call("getpid", []);
  hand.begin();
  expect(hand.result(second)).toBe(0);
  writeAll(writeEnd, "x");
  hand.run();
  expect(hand.result(second)).toBe(hand.pid);
  close(readEnd);
  close(writeEnd);
});

test("what is queued meanwhile comes after the recovery from what was begun", () => {
  using hand = new Hand({ flags: 0 });
  const [readEnd, writeEnd] = pipe();
  const say = (text: string) => hand.call("write", [writeEnd, hand.text(text), text.length]);
  hand.call("chdir", [hand.text("/nonexistent")], {
    recover: () => {
      say("1");
      hand.run();
      return 0;
    },
  });
  say("2");
  hand.begin();
  hand.call("chdir", [hand.text("/nonexistent")], {
    recover: () => {
      say("3");
      hand.run();
      return 0;
    },
  });
  say("4");
  hand.run();
  say("5");
  hand.run();
  const into = fixedBuffer(16);
  expect(into.toString("utf8", 0, read(readEnd, into))).toBe("12345");
  close(readEnd);
  close(writeEnd);
});

test("Hand becomes a small program that makes its own calls", () => {
  const [readEnd, writeEnd] = pipe();
  const hand = new Hand({ flags: 0 });
  const table = programTable(8, 4096);
  table.add("write", [writeEnd, table.arena.string("hello"), 5]);
  table.add("exit_group", [42]);
  const file = programFile(table);
  hand.call("fcntl", [writeEnd, 2, 0]);
  callProgram(hand, file, ["runc", "init"]);
  hand.runToExec();
  expect(waitPid(hand.pid)?.status).toBe(42);
  close(writeEnd);
  const into = fixedBuffer(16);
  expect(into.toString("utf8", 0, read(readEnd, into))).toBe("hello");
  close(readEnd);
  close(file);
});
