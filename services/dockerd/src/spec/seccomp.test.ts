import { expect, test } from "bun:test";
import { defaultSeccomp } from "./seccomp.ts";

const rulesFor = (name: string, capabilities: string[]) =>
  (defaultSeccomp(capabilities).syscalls ?? []).filter(({ names }) => names.includes(name));

test("defaultSeccomp() lets a program read, and refuses what no rule names", () => {
  expect(defaultSeccomp([]).defaultAction).toBe("SCMP_ACT_ERRNO");
  expect(rulesFor("read", [])[0]?.action).toBe("SCMP_ACT_ALLOW");
  for (const name of ["mount", "bpf", "reboot", "open_by_handle_at", "kexec_load", "add_key"]) {
    expect(rulesFor(name, [])).toEqual([]);
  }
});

test("defaultSeccomp() lets clone make no namespaces without CAP_SYS_ADMIN", () => {
  expect(rulesFor("clone", [])[0]?.args?.[0]).toMatchObject({ op: "SCMP_CMP_MASKED_EQ", value: 0x7e020000 });
  expect(rulesFor("clone3", [])[0]).toMatchObject({ action: "SCMP_ACT_ERRNO", errnoRet: 38 });
  expect(rulesFor("clone3", ["CAP_SYS_ADMIN"])[0]?.action).toBe("SCMP_ACT_ALLOW");
  expect(rulesFor("mount", ["CAP_SYS_ADMIN"])).toHaveLength(1);
});

test("defaultSeccomp() compares the address family in the 32 bits that the kernel takes", () => {
  const rules = rulesFor("socket", []).flatMap(({ args = [] }) => args);
  const isAllowed = (family: bigint) =>
    rules.some(
      ({ value, valueTwo = 0, op }) =>
        op === "SCMP_CMP_MASKED_EQ" && (family & BigInt(value)) === BigInt(valueTwo),
    );
  for (const above of [0n, 1n << 32n, 1n << 63n, 0xffffffffn << 32n]) {
    const refused = Array.from({ length: 64 }, (_, family) => family).filter(
      (family) => !isAllowed(BigInt(family) | above),
    );
    expect(refused).toEqual([38, 40]);
  }
});
