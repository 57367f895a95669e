import { expect, test } from "bun:test";
import { isLoopback, parseHost } from "./hosts.ts";

test("parseHost() takes every form of -H, and fills in what is left out", () => {
  const parse = (text: string, tls = false) => parseHost(text, { tls });
  expect(parse("unix:///run/x.sock")).toEqual({ kind: "unix", path: "/run/x.sock" });
  expect(parse("unix://")).toEqual({ kind: "unix", path: "/run/longshore/docker.sock" });
  expect(parse("tcp://0.0.0.0:99")).toEqual({ kind: "tcp", hostname: "0.0.0.0", port: 99 });
  expect(parse("tcp://")).toEqual({ kind: "tcp", hostname: "localhost", port: 2375 });
  expect(parse("tcp://", true)).toEqual({ kind: "tcp", hostname: "localhost", port: 2376 });
  expect(parse("tcp://:77")).toEqual({ kind: "tcp", hostname: "localhost", port: 77 });
  expect(parse("tcp://[::1]:77")).toEqual({ kind: "tcp", hostname: "::1", port: 77 });
  expect(parse("h.example:77")).toEqual({ kind: "tcp", hostname: "h.example", port: 77 });
  expect(parse("fd://")).toEqual({ kind: "fd", name: "" });
  expect(parse("fd://*")).toEqual({ kind: "fd", name: "" });
  expect(parse("fd://4")).toEqual({ kind: "fd", name: "4" });
});

test("parseHost() refuses what is no address", () => {
  for (const text of [
    "tcp://h:99999",
    "tcp://h:x",
    "tcp://a/b:1",
    "tcp://::1:77",
    "unix://rel",
    "npipe:////x",
  ])
    expect(() => parseHost(text, { tls: false })).toThrow(`invalid bind address (${text})`);
});

test("isLoopback() trusts only addresses and the name localhost", () => {
  expect(["localhost", "127.0.0.1", "127.9.8.7", "::1"].every(isLoopback)).toBe(true);
  expect(["0.0.0.0", "::", "127.0.0.1.example", "h.example", ""].some(isLoopback)).toBe(false);
});
