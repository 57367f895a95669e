import { expect, test } from "bun:test";
import { ignoredSignals, kill, poll, SignalPipe } from "./index.ts";

test("SignalPipe gives signals as they come, and poll() tells of them", () => {
  using signals = new SignalPipe([10, 12, 34]);
  expect(signals.next()).toBeUndefined();
  for (const signal of [10, 34, 12]) kill(process.pid, signal);
  expect(poll([{ fd: signals.fd, events: 1 }], 1000)).toEqual([
    { readable: true, writable: false, ended: false },
  ]);
  const got = [signals.next(), signals.next(), signals.next()];
  expect(got.sort()).toEqual([10, 12, 34]);
  expect(signals.next()).toBeUndefined();
});

test("ignoredSignals() has those that the engine ignores for itself", () => {
  // SIGPIPE and SIGXFSZ, which a program started by us must not inherit.
  expect(ignoredSignals()).toEqual(expect.arrayContaining([13, 25]));
});
