import { expect, test } from "bun:test";
import { parseNatsUrl } from "./nats.ts";

test("parseNatsUrl() takes the token out of the address", () => {
  expect(parseNatsUrl("nats://a%2Fb@127.0.0.1:4222")).toEqual({ url: "nats://127.0.0.1:4222", token: "a/b" });
});

test("parseNatsUrl() refuses a server that anyone may use, and does not tell a token", () => {
  expect(() => parseNatsUrl("nats://127.0.0.1:4222")).toThrow("not of the form nats://TOKEN@host:port");
  expect(() => parseNatsUrl("tls://secret@127.0.0.1:4222")).toThrow(/form nats:\S+: tls:\/\/127/);
});
