import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { thermalPaths } from "./system-paths.ts";

test("thermalPaths() names the counters of each processor that has them", () => {
  using dir = tempDir();
  for (const name of ["cpu0/thermal_throttle", "cpu10/thermal_throttle", "cpu2/thermal_throttle", "cpu1"]) {
    fs.mkdirSync(path.join(dir.path, name), { recursive: true });
  }
  fs.mkdirSync(path.join(dir.path, "cpuidle/thermal_throttle"), { recursive: true });
  const at = (cpu: number) => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`;
  expect(thermalPaths(dir.path)).toEqual([at(0), at(2), at(10)]);
  expect(thermalPaths(path.join(dir.path, "none"))).toEqual([]);
});
