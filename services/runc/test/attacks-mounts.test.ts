/** Attacks on the making of a root file system, each tried: CVE by CVE, what an image or another container could do. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import type { Mount } from "@longshore/oci";
import { BASE_MOUNTS, it, type Patch, Playground } from "./playground.ts";

const playground = new Playground();
const outside = path.join(playground.dir, "outside");
fs.mkdirSync(outside);
fs.writeFileSync(path.join(outside, "canary"), "untouched");

afterAll(() => playground[Symbol.dispose]());
afterEach(() => {
  playground.clear();
  expect(playground.leftovers()).toEqual([]);
  expect(fs.readdirSync(outside)).toEqual(["canary"]);
  expect(fs.readFileSync(path.join(outside, "canary"), "utf8")).toBe("untouched");
});

const OWNER = ["CAP_CHOWN", "CAP_FOWNER"];
const inRoot = (name: string) => path.join(playground.rootfs, name);
const withMounts = (...mounts: Mount[]): Patch => ({ mounts: [...BASE_MOUNTS, ...mounts] });
const volume = (name: string): string => {
  const at = path.join(playground.dir, name);
  fs.mkdirSync(at, { recursive: true });
  return at;
};
const bind = (source: string, destination: string): Mount => ({
  destination,
  type: "bind",
  source,
  options: ["bind"],
});

/** Put something in the place of a part of the image for the time of an action. */
function instead<T>(name: string, make: (at: string) => void, action: () => T): T {
  const at = inRoot(name);
  const kept = `${at}.kept`;
  if (fs.existsSync(at)) fs.renameSync(at, kept);
  make(at);
  try {
    return action();
  } finally {
    fs.rmSync(at, { recursive: true, force: true });
    if (fs.existsSync(kept)) fs.renameSync(kept, at);
  }
}

it.each(["/proc", "/sys"])("CVE-2019-19921: %s as a link of the image, absolute or not, is refused", (at) => {
  for (const target of ["/tmp", "../../../../../..", "/nonexistent", at === "/proc" ? "/sys" : "/proc"]) {
    const { code, stderr } = instead(
      at,
      (link) => fs.symlinkSync(target, link),
      () => playground.run({}),
    );
    expect(code).toBe(1);
    expect(stderr).toContain("must be mounted on ordinary directory");
  }
});

it.each(["/proc", "/sys"])("CVE-2023-28642: %s as a file of the image is refused", (at) => {
  const { code, stderr } = instead(
    at,
    (file) => fs.writeFileSync(file, ""),
    () => playground.run({}),
  );
  expect(code).toBe(1);
  expect(stderr).toContain("must be mounted on ordinary directory");
});

it("CVE-2019-16884: nothing is mounted over /proc or in it but what lxcfs covers", () => {
  const fake = volume("fake-proc");
  fs.mkdirSync(path.join(fake, "self/attr"), { recursive: true });
  fs.writeFileSync(path.join(fake, "file"), "covered");
  const refused = (one: Mount) => {
    const { code, stderr } = playground.run(withMounts(one));
    expect(code).toBe(1);
    return stderr;
  };
  expect(refused(bind(fake, "/proc"))).toContain("is not of type proc");
  expect(refused({ destination: "/proc", type: "tmpfs", source: "t" })).toContain("is not of type proc");
  for (const at of [
    "/proc/self",
    "/proc/sys/kernel",
    "/x/../proc/1",
    "//proc//./self/attr",
    "/proc/cpuinfo/x",
  ]) {
    expect(refused(bind(fake, at))).toContain("inside /proc");
  }
  const { stdout, stderr } = playground.script(
    "cat /proc/cpuinfo",
    withMounts(bind(path.join(fake, "file"), "/proc/cpuinfo")),
  );
  expect({ stdout, stderr }).toEqual({ stdout: "covered", stderr: "" });
});

it("CVE-2023-27561: a link of the image leads no volume onto /proc", () => {
  const fake = volume("fake-attr");
  for (const target of ["/proc", "/proc/self", "/proc/sys", "../proc/sys/net"]) {
    const { code, stderr } = instead(
      "/data",
      (link) => fs.symlinkSync(target, link),
      () => playground.run(withMounts(bind(fake, "/data"))),
    );
    expect(code).toBe(1);
    expect(stderr).toContain("inside /proc");
  }
});

it("CVE-2021-30465: volumes mounted on links end inside the root", () => {
  const shared = volume("shared");
  fs.symlinkSync("/", path.join(shared, "root"));
  fs.symlinkSync("../../../../../../../../../..", path.join(shared, "up"));
  fs.symlinkSync(outside, path.join(shared, "outside"));
  const payload = volume("payload");
  fs.writeFileSync(path.join(payload, "evil"), "");
  for (const name of ["root", "up", "outside"]) {
    const { stdout } = playground.script(
      `find / -name evil -not -path '/proc/*'`,
      withMounts(bind(shared, "/shared"), bind(payload, `/shared/${name}/deep/in`)),
    );
    // Wherever the link leads, the way there begins at the container's root.
    expect(stdout).toMatch(/^\/(\S*\/)?deep\/in\/evil\n$/);
  }
});

it("CVE-2021-30465, CVE-2024-45310: while another swaps a target for a link, nothing appears outside", async () => {
  const shared = volume("race");
  fs.mkdirSync(path.join(shared, "target"));
  const payload = volume("race-payload");
  const hit = volume("race-outside");
  // As in the attack: `target` is a directory and a link to the host by turns.
  const swapper = `
    const fs = require("node:fs");
    const [shared, hit] = process.argv.slice(2);
    fs.mkdirSync(shared + "/d"); fs.symlinkSync(hit, shared + "/l");
    for (;;) {
      try { fs.renameSync(shared + "/target", shared + "/d"); fs.renameSync(shared + "/l", shared + "/target"); } catch {}
      try { fs.renameSync(shared + "/target", shared + "/l"); fs.renameSync(shared + "/d", shared + "/target"); } catch {}
    }`;
  const script = path.join(playground.dir, "swap.cjs");
  fs.writeFileSync(
    script,
    swapper.replace("process.argv.slice(1)", "process.argv.slice(0)").replace("[, shared", "[,, shared"),
  );
  const racer = Bun.spawn([process.execPath, script, shared, hit], { stdout: "ignore", stderr: "ignore" });
  try {
    let made = 0;
    for (let round = 0; round < 25; round++) {
      const before = fs.readdirSync(hit);
      const { code } = playground.run(
        withMounts(
          bind(shared, "/shared"),
          bind(payload, "/shared/target/sub"),
          bind(path.join(outside, "canary"), "/shared/target/file"),
        ),
      );
      made += code === 0 ? 1 : 0;
      expect(fs.readdirSync(hit)).toEqual(before);
      expect(fs.readFileSync("/proc/self/mounts", "utf8")).not.toContain(hit);
    }
    expect(racer.exitCode).toBeNull();
    expect(made).toBeGreaterThan(0);
  } finally {
    racer.kill(9);
    await racer.exited;
  }
  expect(fs.readdirSync(hit)).toEqual([]);
}, 30_000);

it("CVE-2025-31133: an image's own /dev/null is no mask, neither as a link nor as a file", () => {
  const show = "cat /proc/version | wc -c; stat -c '%t %T' /proc/version; ls /sys/firmware | wc -l";
  for (const make of [
    (at: string) => fs.symlinkSync("/proc/uptime", at),
    (at: string) => fs.writeFileSync(at, "not null"),
  ]) {
    // With no /dev of its own, the image's counts.
    const { code, stdout, stderr } = instead("/dev/null", make, () =>
      playground.script(show, {
        mounts: BASE_MOUNTS.filter(({ destination }) => destination !== "/dev"),
        linux: { maskedPaths: ["/proc/version", "/sys/firmware"] },
      }),
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/can't mask paths: (\/dev\/null is invalid|openat2 \/dev\/null: )/);
  }
});

it("a mask is the container's own null device: what is done to it is not done to the host's", () => {
  const before = fs.statSync("/dev/null");
  const after = () => {
    const { mode, uid, gid, mtimeMs } = fs.statSync("/dev/null");
    return { mode, uid, gid, mtimeMs };
  };
  try {
    const { code, stdout } = playground.script(
      "chmod 600 /proc/version; chown 7:7 /proc/version; touch -d @1 /proc/version; stat -c '%t %T %a %u' /proc/version /dev/null",
      {
        linux: { maskedPaths: ["/proc/version"] },
        process: { capabilities: { bounding: OWNER, effective: OWNER, permitted: OWNER } },
      },
    );
    expect(after()).toEqual({ mode: before.mode, uid: before.uid, gid: before.gid, mtimeMs: before.mtimeMs });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "1 3 600 7\n1 3 600 7\n" });
  } finally {
    fs.chmodSync("/dev/null", before.mode & 0o7777);
    fs.chownSync("/dev/null", before.uid, before.gid);
  }
});

it("a masked or read-only path that is a link ends inside the root, and one in a volume too", () => {
  const shared = volume("masked");
  fs.symlinkSync(path.join(outside, "canary"), path.join(shared, "file"));
  fs.symlinkSync("../../../../../../../..", path.join(shared, "up"));
  const { code, stdout } = playground.script("ls -d /shared/up/home; cat /shared/file 2>&1", {
    ...withMounts(bind(shared, "/shared")),
    linux: { maskedPaths: ["/shared/file", "/shared/up/home/user"], readonlyPaths: ["/shared/up/tmp"] },
  });
  expect(code).toBe(1);
  expect(stdout).toContain("/shared/up/home");
});

it("a mask that can't be laid stops the container", () => {
  fs.symlinkSync("loop", inRoot("loop"));
  const { code, stderr } = playground.run({ linux: { maskedPaths: ["/loop", "/proc/kcore"] } });
  fs.rmSync(inRoot("loop"));
  expect(code).toBe(1);
  expect(stderr).toContain("can't mask path");
  expect(playground.run({ linux: { readonlyPaths: ["/etc/passwd/x"] } }).stderr).toContain("read-only");
});

it("CVE-2026-41579: /dev as a link is refused, and nothing is made where it leads", () => {
  const before = fs.readdirSync("/dev").sort();
  const devices = ["null", "ptmx", "fd", "core"].map(
    (name) => fs.lstatSync(`/dev/${name}`, { throwIfNoEntry: false })?.ino,
  );
  for (const target of [outside, "../../../../../../dev", "/tmp"]) {
    for (const mounts of [
      BASE_MOUNTS,
      BASE_MOUNTS.filter(({ destination }) => !destination.startsWith("/dev")),
    ]) {
      const { code, stderr } = instead(
        "/dev",
        (link) => fs.symlinkSync(target, link),
        () => playground.run({ mounts: [...mounts] }),
      );
      expect(code).toBe(1);
      expect(stderr).toMatch(/openat2 \/dev(\/null)?: (too many levels of symbolic links|not a directory)/);
    }
  }
  fs.rmSync(inRoot(outside.slice(1, outside.indexOf("/", 1))), { recursive: true, force: true });
  fs.mkdirSync(inRoot("tmp"), { recursive: true });
  expect(fs.readdirSync("/dev").sort()).toEqual(before);
  expect(
    ["null", "ptmx", "fd", "core"].map(
      (name) => fs.lstatSync(`/dev/${name}`, { throwIfNoEntry: false })?.ino,
    ),
  ).toEqual(devices);
});

it("CVE-2025-52881: kernel settings go through no procfs of the image", () => {
  const trap = volume("trap");
  fs.mkdirSync(path.join(trap, "net/ipv4"), { recursive: true });
  fs.writeFileSync(path.join(trap, "net/ipv4/ip_forward"), "trap");
  const { stdout, stderr } = playground.script("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", {
    linux: { sysctl: { "net.ipv4.ip_unprivileged_port_start": "7" } },
  });
  expect({ stdout, stderr }).toEqual({ stdout: "7\n", stderr: "" });
  // Without a procfs at all, a directory of the image stands at /proc: it isn't written to.
  fs.mkdirSync(inRoot("proc/sys/net/ipv4"), { recursive: true });
  fs.writeFileSync(inRoot("proc/sys/net/ipv4/ip_unprivileged_port_start"), "trap");
  const without = playground.script("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", {
    mounts: BASE_MOUNTS.filter(({ destination }) => destination !== "/proc"),
    linux: { sysctl: { "net.ipv4.ip_unprivileged_port_start": "7" }, maskedPaths: [], readonlyPaths: [] },
  });
  fs.rmSync(inRoot("proc/sys"), { recursive: true });
  expect(without).toEqual({ code: 0, stdout: "trap", stderr: "" });
  expect(fs.readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8")).not.toBe("7\n");
});

it("CVE-2024-21626: a working directory by a descriptor of the host's is refused", () => {
  for (const cwd of ["/proc/self/fd/3", "/proc/self/fd/7/../..", "/proc/self/cwd/../../.."]) {
    const { code, stdout } = playground.script("pwd -P; ls", { process: { cwd } });
    expect(stdout).not.toContain("etc\nhome\nlib");
    expect(code === 0 ? stdout.split("\n")[0] : "/").toMatch(/^\/$/);
  }
  fs.symlinkSync("/proc/self/fd/5", inRoot("way"));
  expect(playground.run({ process: { cwd: "/way" } }).code).toBe(1);
  fs.rmSync(inRoot("way"));
});

it("a root file system that is a link, or is reached by one, is refused", () => {
  const link = path.join(playground.bundle, "link");
  fs.symlinkSync("rootfs", link);
  for (const at of ["link", link]) {
    const { code, stderr } = playground.run({ root: { path: at } });
    expect(code).toBe(1);
    expect(stderr).toContain("invalid rootfs: not an absolute path, or a symlink");
  }
  fs.rmSync(link);
  // Of the bundle's own path the links count as its caller wrote them.
  const way = path.join(playground.dir, "way");
  fs.symlinkSync(playground.bundle, way);
  const id = playground.id();
  playground.write(playground.config({ linux: { cgroupsPath: playground.groupOf(id) } }));
  expect(playground.command(["run", "--bundle", way, id]).code).toBe(0);
  fs.rmSync(way);
});

it("a device in a directory that others write to changes no owner but of the node itself", () => {
  const shared = volume("devices");
  fs.writeFileSync(path.join(shared, "own"), "mine");
  fs.symlinkSync(path.join(outside, "canary"), path.join(shared, "link"));
  const node = (name: string) => ({
    path: `/shared/${name}`,
    type: "c",
    major: 1,
    minor: 3,
    uid: 55,
    gid: 55,
  });
  const { code } = playground.run({
    ...withMounts(bind(shared, "/shared")),
    linux: { devices: [node("own"), node("link"), node("new")] },
  });
  expect(code).toBe(0);
  expect(fs.statSync(path.join(shared, "own")).uid).toBe(0);
  expect(fs.lstatSync(path.join(shared, "link")).uid).toBe(0);
  expect(fs.statSync(path.join(outside, "canary")).uid).toBe(0);
  expect(fs.statSync(path.join(shared, "new")).uid).toBe(55);
});
