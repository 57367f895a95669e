import { expect, test } from "bun:test";
import { CAPABILITIES } from "@longshore/oci";
import { capabilitiesOf, readBoundingSet } from "./capabilities.ts";

const none = { add: [], drop: [], privileged: false, available: CAPABILITIES };

test("capabilitiesOf() gives fourteen by default", () => {
  expect(capabilitiesOf(none)).toHaveLength(14);
  expect(capabilitiesOf(none)).not.toContain("CAP_SYS_ADMIN");
});

test("capabilitiesOf() adds and drops by any spelling", () => {
  expect(capabilitiesOf({ ...none, add: ["net_admin"] })).toContain("CAP_NET_ADMIN");
  expect(capabilitiesOf({ ...none, drop: ["CAP_CHOWN"] })).not.toContain("CAP_CHOWN");
  expect(capabilitiesOf({ ...none, drop: ["ALL"], add: ["KILL"] })).toEqual(["CAP_KILL"]);
  expect(capabilitiesOf({ ...none, add: ["ALL"], drop: ["KILL"] })).toHaveLength(40);
  expect(() => capabilitiesOf({ ...none, add: ["NOPE"] })).toThrow('unknown capability: "CAP_NOPE"');
});

test("capabilitiesOf() gives a privileged container what the host has", () => {
  const available = readBoundingSet("CapPrm:\t0\nCapBnd:\t0000000000000003\n");
  expect(available).toEqual(["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
  expect(capabilitiesOf({ ...none, privileged: true, available })).toEqual(available);
});
