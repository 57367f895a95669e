import { expect, test } from "bun:test";
import { parseProfile, seccompOf } from "./seccomp-profile.ts";

const PROFILE = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 38,
  archMap: [
    { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
    { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
  ],
  syscalls: [
    { names: ["read", "write"], action: "SCMP_ACT_ALLOW" },
    { name: "mount", action: "SCMP_ACT_ALLOW", includes: { caps: ["CAP_SYS_ADMIN"] } },
    { names: ["clone"], action: "SCMP_ACT_ERRNO", errnoRet: 1, excludes: { caps: ["CAP_SYS_ADMIN"] } },
    { names: ["ptrace"], action: "SCMP_ACT_ALLOW", includes: { minKernel: "2.6" } },
    { names: ["future"], action: "SCMP_ACT_ALLOW", includes: { minKernel: "999.0" } },
    { names: ["arm_only"], action: "SCMP_ACT_ALLOW", includes: { arches: ["arm64"] } },
    { names: ["not_here"], action: "SCMP_ACT_ALLOW", excludes: { arches: ["amd64"] } },
    {
      names: ["socket"],
      action: "SCMP_ACT_ALLOW",
      args: [{ index: 0, value: 40, valueTwo: 0, op: "SCMP_CMP_NE" }],
    },
  ],
};

const namesFor = (capabilities: string[]) =>
  seccompOf(parseProfile(JSON.stringify(PROFILE)), capabilities)?.syscalls?.flatMap(({ names }) => names);

test("seccompOf() keeps of a profile what holds for this machine and these capabilities", () => {
  expect(namesFor([])).toEqual(["read", "write", "clone", "ptrace", "socket"]);
  expect(namesFor(["CAP_SYS_ADMIN"])).toEqual(["read", "write", "mount", "ptrace", "socket"]);
  const filter = seccompOf(parseProfile(JSON.stringify(PROFILE)), []);
  expect(filter).toMatchObject({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 38,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
  });
  expect(filter?.syscalls?.at(-1)?.args).toEqual([{ index: 0, value: 40, valueTwo: 0, op: "SCMP_CMP_NE" }]);
});

test("parseProfile() refuses what is no profile, in Docker's words", () => {
  expect(() => parseProfile("{")).toThrow("Decoding seccomp profile failed: ");
  expect(() => parseProfile("{}")).toThrow("Decoding seccomp profile failed: defaultAction: ");
  const both = { ...PROFILE, architectures: ["SCMP_ARCH_X86"] };
  expect(() => parseProfile(JSON.stringify(both))).toThrow(
    "'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' or 'archMap'",
  );
  const twice = { defaultAction: "x", syscalls: [{ name: "a", names: ["b"], action: "y" }] };
  expect(() => parseProfile(JSON.stringify(twice))).toThrow("use either 'name' or 'names'");
});
