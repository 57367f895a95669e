import { expect, test } from "bun:test";
import { openStore } from "@longshore/store";
import { EngineEvents } from "./engine-events.ts";

const fail = (error: unknown) => {
  throw error;
};

test("EngineEvents are there for the next daemon, in order, each at a time of its own, also beyond what is in memory", async () => {
  await using store = openStore("sqlite::memory:");
  const first = new EngineEvents(store, fail);
  for (let n = 0; n < 700; n++) first.emit("container", "start", String(n), { n: String(n) });
  const second = new EngineEvents(store, fail);
  await second.load();
  const all = await first.since(0n);
  expect(await second.since(0n)).toEqual(all);
  expect(all.map(({ Actor }) => Actor.ID)).toEqual(Array.from({ length: 700 }, (_, n) => String(n)));
  expect(new Set(all.map(({ timeNano }) => timeNano)).size).toBe(700);
  for (const n of [1, 443, 444, 445, 699])
    expect((await second.since(all[n]?.timeNano ?? 0n)).map(({ Actor }) => Number(Actor.ID))).toEqual(
      Array.from({ length: 700 - n }, (_, i) => n + i),
    );
  expect(second.knownSince).toBeUndefined();
});

test("the oldest EngineEvents go when there are too many, and from when on they are known is told", async () => {
  await using store = openStore("sqlite::memory:");
  const first = new EngineEvents(store, fail, 300);
  for (let n = 0; n < 305; n++) first.emit("container", "start", String(n));
  const second = new EngineEvents(store, fail, 300);
  await second.load();
  for (const events of [first, second]) {
    const all = await events.since(0n);
    expect(all.map(({ Actor }) => Actor.ID)).toEqual(Array.from({ length: 300 }, (_, n) => String(n + 5)));
    expect(events.knownSince).toBe(all[0]?.timeNano);
  }
  // Fewer than there were are kept from now on.
  const third = new EngineEvents(store, fail, 10);
  await third.load();
  third.emit("container", "start", "last");
  expect((await third.since(0n)).length).toBeLessThanOrEqual(256);
  expect(await store.list("events")).toHaveLength(10);
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
  expect(await next.since(0n)).toEqual(await events.since(0n));
});
