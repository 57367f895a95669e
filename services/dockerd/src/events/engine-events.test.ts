import { expect, test } from "bun:test";
import { openStore } from "@longshore/store";
import { EngineEvents } from "./engine-events.ts";

const fail = (error: unknown) => {
  throw error;
};

test("EngineEvents are there for the next daemon, in order, each at a time of its own, at most 256", async () => {
  await using store = openStore("sqlite::memory:");
  const first = new EngineEvents(store, fail);
  for (let n = 0; n < 300; n++) first.emit("container", "start", String(n), { n: String(n) });
  const second = new EngineEvents(store, fail);
  await second.load();
  expect(second.since(0n)).toEqual(first.since(0n));
  expect(second.since(0n).map(({ Actor }) => Actor.ID)).toEqual(
    Array.from({ length: 256 }, (_, n) => String(n + 44)),
  );
  expect(new Set(second.since(0n).map(({ timeNano }) => timeNano)).size).toBe(256);
});

test("a prepared event is kept by the commit that makes it true, and heard of when told", async () => {
  await using store = openStore("sqlite::memory:");
  const events = new EngineEvents(store, fail);
  const heard: string[] = [];
  events.listen(({ Action }) => heard.push(Action));
  const { changes, tell } = events.prepare("container", "die", "a");
  await store.commit(changes);
  expect(heard).toEqual([]);
  tell();
  expect(heard).toEqual(["die"]);
  const next = new EngineEvents(store, fail);
  await next.load();
  expect(next.since(0n)).toEqual(events.since(0n));
});
