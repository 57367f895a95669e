import { expect, test } from "bun:test";
import { resourcesSchema } from "../containers/container-config.ts";
import { checkResources, toLinuxResources } from "./resources.ts";

const resources = (given: object) => resourcesSchema.parse(given);

test("toLinuxResources() leaves out what isn't set", () => {
  expect(toLinuxResources(resources({}))).toEqual({ memory: {}, cpu: {} });
});

test("checkResources() allows as much swap as memory, toLinuxResources() turns cpus into a quota", () => {
  const checked = checkResources(resources({ Memory: 64 << 20, NanoCpus: 1_500_000_000, PidsLimit: 20 }));
  expect(toLinuxResources(checked)).toEqual({
    memory: { limit: 64 << 20, swap: 128 << 20 },
    cpu: { quota: 150_000, period: 100_000 },
    pids: { limit: 20 },
  });
});

test("checkResources() refuses limits that contradict each other", () => {
  expect(() => checkResources(resources({ Memory: 1000 }))).toThrow("Minimum memory limit allowed is 6MB");
  expect(() => checkResources(resources({ MemorySwap: 1 << 30 }))).toThrow("always set the Memory limit");
  expect(() => checkResources(resources({ Memory: 64 << 20, MemorySwap: 32 << 20 }))).toThrow(
    "larger than memory limit",
  );
  expect(() => checkResources(resources({ NanoCpus: 1e9, CpuQuota: 5000 }))).toThrow("Conflicting options");
});
