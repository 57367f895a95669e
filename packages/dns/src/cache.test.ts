import { expect, test } from "bun:test";
import { AnswerCache, ttlOf } from "./cache.ts";
import {
  CLASS_IN,
  FLAG,
  type Message,
  nameBytes,
  RCODE,
  readMessage,
  TYPE,
  writeMessage,
} from "./message.ts";

const record = (name: string, type: number, ttl: number, data: Uint8Array) => ({
  name,
  type,
  class: CLASS_IN,
  ttl,
  data,
});
const a = (ttl: number, name = "a.test") => record(name, TYPE.A, ttl, Uint8Array.of(10, 0, 0, 1));
const soa = (ttl: number, minimum: number) => {
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32BE(minimum, 16);
  const name = nameBytes("ns.test") ?? new Uint8Array();
  return record("test", TYPE.SOA, ttl, Buffer.concat([name, name, numbers]));
};
const answer = (rest: Partial<Message>): Message => ({
  ...{ id: 0, flags: FLAG.RESPONSE, rcode: RCODE.NOERROR, answers: [], authorities: [], additionals: [] },
  questions: [{ name: "a.test", type: TYPE.A, class: CLASS_IN }],
  ...rest,
});

test("ttlOf() is the least of what was answered, or what the zone says about what is not there", () => {
  expect(ttlOf(answer({ answers: [a(60), a(30)] }))).toBe(30);
  expect(ttlOf(answer({ answers: [a(0)] }))).toBe(0);
  expect(ttlOf(answer({ answers: [a(0x8000_0000)] }))).toBe(0);
  expect(ttlOf(answer({ answers: [a(1_000_000)] }))).toBe(86_400);
  expect(ttlOf(answer({ authorities: [soa(60, 900)] }))).toBe(60);
  expect(ttlOf(answer({ rcode: RCODE.NXDOMAIN, authorities: [soa(900, 45)] }))).toBe(45);
  expect(ttlOf(answer({ rcode: RCODE.NXDOMAIN, authorities: [soa(90_000, 90_000)] }))).toBe(10_800);
  expect(ttlOf(answer({ rcode: RCODE.NXDOMAIN }))).toBe(0);
  expect(ttlOf(answer({ rcode: RCODE.SERVFAIL, answers: [a(60)] }))).toBe(0);
  expect(ttlOf(answer({ flags: FLAG.RESPONSE | FLAG.TRUNCATED, answers: [a(60)] }))).toBe(0);
  // An alias of something that isn't there: not for longer than either.
  const alias = record("a.test", TYPE.CNAME, 20, nameBytes("b.test") ?? new Uint8Array());
  expect(ttlOf(answer({ answers: [alias], authorities: [soa(60, 60)] }))).toBe(20);
  expect(ttlOf(answer({ answers: [alias] }))).toBe(0);
});

test("AnswerCache counts TTLs down and forgets what has expired", () => {
  const cache = new AnswerCache();
  const message = answer({ answers: [a(60)] });
  cache.set("k", message, writeMessage(message), 1000);
  const ttlAt = (nowMs: number) => {
    const bytes = cache.get("k", nowMs);
    return bytes && readMessage(bytes)?.answers[0]?.ttl;
  };
  expect(ttlAt(1000)).toBe(60);
  expect(ttlAt(1000 + 59_999)).toBe(1);
  expect(ttlAt(1000 + 60_000)).toBeUndefined();
  expect([cache.size, cache.bytes]).toEqual([0, 0]);
});

test("AnswerCache has its bounds, and keeps what is in use", () => {
  const cache = new AnswerCache({ maxEntries: 10, maxBytes: 100_000 });
  const message = answer({ answers: [a(60)] });
  cache.set("used", message, writeMessage(message), 0);
  for (let count = 0; count < 100; count++) {
    cache.set(`k${count}`, message, writeMessage(message), 0);
    cache.get("used", 0);
  }
  expect(cache.size).toBe(10);
  expect(cache.get("used", 0)).toBeDefined();

  const large = new AnswerCache({ maxBytes: 100_000 });
  const answers = Array.from({ length: 200 }, (_, index) => a(60, `name-${index}.test`));
  for (let count = 0; count < 100; count++)
    large.set(`k${count}`, answer({ answers }), writeMessage(answer({ answers })), 0);
  expect(large.bytes).toBeLessThanOrEqual(100_000);
  expect(large.size).toBeGreaterThan(5);
});
