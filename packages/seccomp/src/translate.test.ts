import { expect, test } from "bun:test";
import {
  actionValue,
  alternatives,
  enosysPrelude,
  filterFlags,
  hasListener,
  operatorValue,
} from "./index.ts";

test("actionValue() puts the error number into the action, EPERM when none is given", () => {
  expect(actionValue("SCMP_ACT_ERRNO", undefined)).toBe(0x00050001);
  expect(actionValue("SCMP_ACT_ERRNO", 38)).toBe(0x00050026);
  expect(actionValue("SCMP_ACT_ALLOW", undefined)).toBe(0x7fff0000);
  expect(() => actionValue("SCMP_ACT_ALLOW", 1)).toThrow("errnoRet");
  expect(() => actionValue("SCMP_ACT_DREAM", undefined)).toThrow("SCMP_ACT_DREAM is not a valid action");
});

test("alternatives() reads two comparisons of one argument as either, of different ones as both", () => {
  const arg = (index: number) => ({ index, value: 1, op: "SCMP_CMP_EQ" });
  expect(alternatives({ names: [], action: "", args: [arg(0), arg(0)] })).toHaveLength(2);
  expect(alternatives({ names: [], action: "", args: [arg(0), arg(1)] })).toHaveLength(1);
  expect(operatorValue("SCMP_CMP_MASKED_EQ")).toBe(7);
});

test("filterFlags() asks for SPEC_ALLOW when nothing is said, and refuses what it doesn't know", () => {
  expect(filterFlags({ defaultAction: "" })).toBe(4);
  expect(filterFlags({ defaultAction: "", flags: ["SECCOMP_FILTER_FLAG_LOG"] })).toBe(2);
  expect(() => filterFlags({ defaultAction: "", flags: ["SECCOMP_FILTER_FLAG_X"] })).toThrow(
    "not known to runc",
  );
});

test("filterFlags() keeps WAIT_KILLABLE_RECV for profiles with an agent", () => {
  const profile = { defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] };
  expect(filterFlags(profile)).toBe(0);
  const syscalls = [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }];
  expect(filterFlags({ ...profile, listenerPath: "/agent", syscalls })).toBe(32 | 8);
});

test("enosysPrelude() has six instructions for each architecture", () => {
  expect(enosysPrelude([{ architecture: 0xc000003e, number: 450 }])).toHaveLength(48);
});

test("hasListener() refuses a profile that would stop the runtime before the agent is there", () => {
  const rule = (name: string) => ({ names: [name], action: "SCMP_ACT_NOTIFY" });
  const allow = { defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/agent" };
  expect(hasListener({ ...allow, syscalls: [] })).toBe(false);
  expect(hasListener({ ...allow, syscalls: [rule("mkdir")] })).toBe(true);
  expect(filterFlags({ ...allow, syscalls: [rule("mkdir")] })).toBe(4 | 8);
  expect(() => hasListener({ ...allow, syscalls: [rule("write")] })).toThrow("write");
  expect(() => hasListener({ defaultAction: "SCMP_ACT_NOTIFY" })).toThrow("default action");
  expect(() => hasListener({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule("mkdir")] })).toThrow(
    "listenerPath",
  );
});
