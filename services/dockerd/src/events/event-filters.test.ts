import { expect, test } from "bun:test";
import { Filters } from "../http/filters.ts";
import { EVENT_FILTERS, eventMatches, showEvent } from "./event-filters.ts";

const event = {
  Type: "container",
  Action: "exec_create: ls",
  Actor: { ID: "a".repeat(64), Attributes: { name: "web", image: "busybox", tier: "1" } },
  scope: "local" as const,
  time: 1_700_000_000,
  timeNano: 1_700_000_000_123_456_789n,
};
const matches = (filters: object) =>
  eventMatches(event, Filters.parse(JSON.stringify(filters), EVENT_FILTERS));

test("eventMatches() goes by type, action, actor and labels", () => {
  expect(matches({})).toBe(true);
  expect(
    matches({ type: ["container"], container: ["web"], event: ["exec_create"], label: ["tier=1"] }),
  ).toBe(true);
  expect(matches({ container: ["other"] })).toBe(false);
  expect(matches({ type: ["image"] })).toBe(false);
  expect(matches({ label: ["tier=2"] })).toBe(false);
  // The beginning of an id or a name will do, and a container is one of its image.
  expect(matches({ container: ["we"], image: ["busybox"] })).toBe(true);
  expect(matches({ container: ["aaaa"] })).toBe(true);
  expect(matches({ container: ["eb"] })).toBe(false);
  expect(matches({ image: ["busybo"] })).toBe(false);
  expect(matches({ node: ["n"] })).toBe(false);
  const pulled = { ...event, Type: "image", Actor: { ID: "me/x:1", Attributes: { name: "me/x" } } };
  const names = ["me/x:1", "me/x", "me", "x"].filter((image) =>
    eventMatches(pulled, Filters.parse(JSON.stringify({ image: [image] }), EVENT_FILTERS)),
  );
  expect(names).toEqual(["me/x:1", "me/x"]);
});

test("showEvent() keeps all digits of the time, and has old fields for who reads them", () => {
  const line = showEvent(event, { oldFields: true });
  expect(line).toEndWith('"timeNano":1700000000123456789}\n');
  expect(JSON.parse(line)).toMatchObject({ status: "exec_create: ls", from: "busybox" });
  const names = ["Type", "Action", "Actor", "scope", "time", "timeNano"];
  expect(Object.keys(JSON.parse(showEvent(event, { oldFields: false })))).toEqual(names);
});
