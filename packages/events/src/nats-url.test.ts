import { expect, test } from "bun:test";
import { parseNatsUrl } from "./nats-url.ts";

test("parseNatsUrl() takes addresses apart", () => {
  expect(parseNatsUrl("nats://127.0.0.1:4333")).toEqual({ host: "127.0.0.1", port: 4333 });
  expect(parseNatsUrl("nats.example.com")).toEqual({ host: "nats.example.com", port: 4222 });
  expect(parseNatsUrl("nats://[::1]:1/")).toEqual({ host: "::1", port: 1 });
  expect(parseNatsUrl("nats://a%2Fb@h")).toEqual({ host: "h", port: 4222, token: "a/b" });
  expect(parseNatsUrl("nats://me:p%40s@h:2")).toEqual({ host: "h", port: 2, user: "me", password: "p@s" });
});

test("parseNatsUrl() refuses what is no address", () => {
  for (const text of ["", "nats://", "nats://:4222", "nats://h:port", "nats://h h", "nats://h/path"])
    expect(() => parseNatsUrl(text)).toThrow("not a NATS URL");
  expect(() => parseNatsUrl("tls://h")).toThrow("NATS over tls:// is not supported");
});
