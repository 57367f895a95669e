import { expect, test } from "bun:test";
import { endpointsOf, isLoopbackHost } from "./hosts.ts";
import { backoff, retryAfterMs } from "./retry.ts";

const none = { insecureRegistries: [], mirrors: [] };

test("endpointsOf() allows plain http on loopback and for registries called insecure", () => {
  expect(endpointsOf("r.example:5000", none)).toEqual([
    { base: "https://r.example:5000", insecure: false, mirror: false },
  ]);
  expect(endpointsOf("127.0.0.1:5000", none)[0]?.insecure).toBe(true);
  expect(endpointsOf("r.example", { ...none, insecureRegistries: ["r.example"] })[0]?.insecure).toBe(true);
  expect(endpointsOf("r.example", { ...none, insecureRegistries: ["r.example:5000"] })[0]?.insecure).toBe(
    false,
  );
});

test("endpointsOf() tries mirrors for Docker Hub only, before it", () => {
  const options = { ...none, mirrors: ["http://m.example/hub/"] };
  expect(endpointsOf("r.example", options)).toHaveLength(1);
  expect(endpointsOf("docker.io", options).map(({ base, mirror }) => [base, mirror])).toEqual([
    ["http://m.example/hub", true],
    ["https://registry-1.docker.io", false],
  ]);
});

test.each([
  ["localhost", true],
  ["localhost:5000", true],
  ["127.0.0.1", true],
  ["127.9.9.9:1", true],
  ["[::1]:5000", true],
  ["127.0.0.1.example", false],
  ["localhost.example", false],
  ["10.0.0.1", false],
])("isLoopbackHost(%j) is %p", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});

test("backoff() doubles up to a limit, with up to a quarter of jitter", () => {
  expect([1, 2, 3, 9].map((attempt) => backoff(attempt, 500, () => 0))).toEqual([500, 1000, 2000, 8000]);
  expect(backoff(1, 500, () => 1)).toBe(625);
});

test("retryAfterMs() reads seconds and dates", () => {
  const now = Date.parse("2026-11-23T00:00:00Z");
  expect(retryAfterMs("3")).toBe(3000);
  expect(retryAfterMs("Mon, 23 Nov 2026 00:00:05 GMT", now)).toBe(5000);
  expect(retryAfterMs("Mon, 23 Nov 2020 00:00:00 GMT", now)).toBe(0);
  expect(retryAfterMs("soon")).toBeUndefined();
  expect(retryAfterMs(null)).toBeUndefined();
});
