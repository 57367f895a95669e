import { expect, test } from "bun:test";
import { type Machine, unsupported } from "./checks.ts";

const debian: Machine = {
  platform: "linux",
  arch: "x64",
  uid: 0,
  mounts: "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
  osRelease: 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n',
  hasAptGet: true,
};

test("unsupported() accepts Debian, Ubuntu and what is like them, with either cgroup version", () => {
  expect(unsupported(debian)).toBeUndefined();
  expect(unsupported({ ...debian, osRelease: "ID=ubuntu\nID_LIKE=debian\n" })).toBeUndefined();
  expect(unsupported({ ...debian, osRelease: 'ID=linuxmint\nID_LIKE="ubuntu debian"\n' })).toBeUndefined();
  expect(unsupported({ ...debian, mounts: "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n" })).toBeUndefined();
});

test("unsupported() names the one thing that is wrong", () => {
  expect(unsupported({ ...debian, uid: 1000 })).toStartWith("must run as root");
  expect(unsupported({ ...debian, arch: "arm64" })).toBe("needs Linux on x86_64, this is linux on arm64");
  expect(unsupported({ ...debian, mounts: "proc /proc proc rw 0 0\n" })).toContain("no cgroup file system");
  expect(unsupported({ ...debian, mounts: undefined })).toBe("/proc is not mounted");
  expect(unsupported({ ...debian, osRelease: 'ID=fedora\nPRETTY_NAME="Fedora Linux 44"\n' })).toBe(
    "needs Debian or Ubuntu, this is Fedora Linux 44",
  );
  expect(unsupported({ ...debian, hasAptGet: false })).toContain("apt-get");
});
