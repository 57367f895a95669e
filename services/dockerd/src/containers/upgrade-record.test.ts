import { expect, test } from "bun:test";
import type { ContainerRecord } from "./container.ts";
import { upgradeRecord } from "./upgrade-record.ts";

const old = (NetworkMode: string) =>
  ({ id: "c", hostConfig: { NetworkMode }, aliases: ["web"], macAddress: "" }) as unknown as ContainerRecord;

test("upgradeRecord() gives a record of old what it lacks", () => {
  expect(upgradeRecord(old("default"))).toMatchObject({
    networks: [{ name: "bridge", aliases: ["web"], ipAddress: "", macAddress: "" }],
    ...{ endpoints: [], ports: [], mounts: [] },
  });
  expect(upgradeRecord(old("none")).networks).toEqual([]);
});

test("upgradeRecord() leaves a record of now as it is", () => {
  const record = upgradeRecord(old("default"));
  expect(upgradeRecord(record)).toEqual(record);
});
