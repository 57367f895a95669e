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
