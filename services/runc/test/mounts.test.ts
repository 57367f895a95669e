/** What validation-mounts.test.ts doesn't show of mounts: the original's choices where the specification leaves them, and its words. */
import { afterAll, afterEach, beforeAll, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import type { Mount } from "@longshore/oci";
import {
  BASE_MOUNTS,
  CGROUP_MOUNT,
  it,
  itWithUsers,
  missing,
  type Patch,
  Playground,
  skipped,
  unified,
} from "./playground.ts";

const playground = new Playground();
const source = path.join(playground.dir, "source");
const sub = path.join(source, "sub");

function mount(...args: string[]): void {
  const { success, stderr } = Bun.spawnSync(["mount", ...args]);
  if (!success) throw new Error(`mount ${args.join(" ")}: ${stderr}`);
}

beforeAll(() => {
  fs.mkdirSync(source);
  if (missing) return;
  mount("-t", "tmpfs", "-o", "nosuid,nodev,noatime", "outer", source);
  fs.mkdirSync(sub);
  mount("-t", "tmpfs", "-o", "nodev", "inner", sub);
  fs.writeFileSync(path.join(source, "file"), "outer");
  fs.writeFileSync(path.join(sub, "file"), "inner");
  fs.chownSync(path.join(sub, "file"), 4, 4);
  fs.chownSync(path.join(source, "file"), 3, 3);
});
afterAll(() => {
  for (const at of [sub, source]) Bun.spawnSync(["umount", "--lazy", at]);
  playground[Symbol.dispose]();
});
afterEach(() => {
  playground.clear();
  expect(playground.leftovers().filter((line) => !line.includes(source))).toEqual([]);
});

const bind = (...options: string[]): Mount => ({ destination: "/m", type: "bind", source, options });
const withMounts = (...mounts: Mount[]): Patch => ({ mounts: [...BASE_MOUNTS, ...mounts] });
/** The options of a mount. */
const seen = (at: string) => `awk -v at=${at} '$5 == at { o = $6 } END { print o }' /proc/self/mountinfo`;

it.each([
  [["bind"], "rw,nosuid,nodev,noatime"],
  [["bind", "ro"], "ro,noatime"],
  [["bind", "dev"], "rw,noatime"],
  [["bind", "noexec", "nosymfollow"], "rw,noexec,noatime,nosymfollow"],
  [["bind", "relatime"], "rw,relatime"],
  [["bind", "strictatime", "nodiratime"], "rw,nodiratime"],
  [["bind", "rro"], "ro,nosuid,nodev,noatime"],
] as [string[], string][])("a bind with %j has the flags %s", (options, flags) => {
  const { stdout, stderr } = playground.script(seen("/m"), withMounts(bind(...options)));
  expect({ stdout, stderr }).toEqual({ stdout: `${flags}\n`, stderr: "" });
});

it("recursive words reach what is mounted below, others don't", () => {
  const both = `${seen("/m")}; ${seen("/m/sub")}`;
  expect(playground.script(both, withMounts(bind("rbind", "ro"))).stdout).toBe(
    "ro,noatime\nrw,nodev,relatime\n",
  );
  expect(playground.script(both, withMounts(bind("rbind", "rro", "rnoexec", "rdev"))).stdout).toBe(
    "ro,nosuid,noexec,noatime\nro,noexec,relatime\n",
  );
});

it("a remount changes what is there: a bind's flags, or a file system's options", () => {
  const tmpfs: Mount = { destination: "/m", type: "tmpfs", source: "t", options: ["size=64k"] };
  const again = (type: string, ...options: string[]): Mount => ({
    ...tmpfs,
    type,
    options: ["remount", ...options],
  });
  const { stdout, stderr } = playground.script(
    `${seen("/m")}; grep ' /m ' /proc/mounts`,
    withMounts(tmpfs, again("tmpfs", "size=128k", "noexec"), again("bind", "bind", "ro", "nosuid")),
  );
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^ro,nosuid,relatime\n/);
  expect(stdout).toContain("size=128k");
});

itWithUsers("idmap changes owners of the top mount, ridmap of all", () => {
  const mappings = [{ containerID: 0, hostID: 1000, size: 100 }];
  const one = (option: string): Mount => ({
    ...bind("rbind", option),
    uidMappings: mappings,
    gidMappings: mappings,
  });
  const owners = "stat -c %u /m/file /m/sub/file";
  const { stdout, stderr } = playground.script(owners, withMounts(one("idmap")));
  // /m/file belongs to 3, which the mount shows as 1003.
  expect({ stdout, stderr }).toEqual({ stdout: "1003\n4\n", stderr: "" });
  expect(playground.script(owners, withMounts(one("ridmap"))).stdout).toBe("1003\n1004\n");
});

itWithUsers("idmap without mappings of its own takes those of the user namespace", () => {
  Bun.spawnSync(["chown", "-R", "-h", "100000:100000", playground.rootfs]);
  const types = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];
  const mappings = [{ containerID: 0, hostID: 100000, size: 1000 }];
  const linux = { namespaces: types.map((type) => ({ type })), uidMappings: mappings, gidMappings: mappings };
  const owners = (option: string) =>
    playground.script("stat -c %u /m/file", { ...withMounts(bind("rbind", option)), linux });
  expect(owners("idmap")).toMatchObject({ stdout: "3\n", stderr: "" });
  expect(owners("rw").stdout).toBe("65534\n");
});

it("a tmpfs has the permissions of what it covers, unless it is told its own", () => {
  fs.mkdirSync(path.join(playground.rootfs, "covered"));
  fs.chmodSync(path.join(playground.rootfs, "covered"), 0o1712);
  const tmpfs = (destination: string, ...options: string[]): Mount => ({
    destination,
    type: "tmpfs",
    source: "t",
    options,
  });
  const { stdout } = playground.script(
    "stat -c %a /covered /own /new; touch /new/x /ro/x; ls /ro /dev/x",
    withMounts(tmpfs("/covered"), tmpfs("/own", "mode=0700"), tmpfs("/new"), tmpfs("/ro", "ro"), {
      destination: "/ro/below",
      type: "bind",
      source,
      options: ["bind"],
    }),
  );
  expect(stdout).toBe("1712\n700\n1777\n/ro:\nbelow\n");
});

it("tmpcopyup copies files, links, permissions and owners, and follows no link out of the directory", () => {
  const at = path.join(playground.rootfs, "filled");
  fs.mkdirSync(path.join(at, "deep/er"), { recursive: true });
  fs.writeFileSync(path.join(at, "deep/er/big"), Buffer.alloc(300_000, "x"));
  fs.writeFileSync(path.join(at, "suid"), "s");
  fs.chownSync(path.join(at, "suid"), 7, 8);
  fs.chmodSync(path.join(at, "suid"), 0o4755);
  fs.symlinkSync("/etc/shadow", path.join(at, "link"));
  Bun.spawnSync(["mkfifo", path.join(at, "fifo")]);
  const { stdout, stderr } = playground.script(
    "cd /filled; ls; stat -c '%n %a %u %g' suid; wc -c < deep/er/big; readlink link; test -p fifo && echo fifo; touch new",
    withMounts({ destination: "/filled", type: "tmpfs", source: "t", options: ["tmpcopyup", "mode=0755"] }),
  );
  expect({ stdout, stderr }).toEqual({
    stdout: "deep\nfifo\nlink\nsuid\nsuid 4755 7 8\n300000\n/etc/shadow\nfifo\n",
    stderr: "",
  });
  expect(fs.existsSync(path.join(at, "new"))).toBe(false);
});

it("links in a destination are followed inside the root, and their ends made", () => {
  const { rootfs } = playground;
  fs.symlinkSync("/run/far", path.join(rootfs, "absolute"));
  fs.mkdirSync(path.join(rootfs, "a/b"), { recursive: true });
  fs.symlinkSync("../../../../../x/y", path.join(rootfs, "a/b/up"));
  const to = (destination: string): Mount => ({ ...bind("bind"), destination });
  const { stdout, stderr } = playground.script(
    "cat /run/far/file /x/y/file",
    withMounts(to("/absolute"), to("/a/b/up")),
  );
  expect({ stdout, stderr }).toEqual({ stdout: "outerouter", stderr: "" });
  expect(fs.existsSync("/run/far")).toBe(false);
});

const V1 = [...fs.readdirSync("/sys/fs/cgroup")].filter((name) => name !== "unified");

it("cgroup: each hierarchy of v1 shows the container's own group, by name", () => {
  if (unified) return;
  const types = ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type }));
  for (const namespaces of [types, [...types, { type: "cgroup" }]]) {
    const { stdout, stderr } = playground.script(
      "ls /sys/fs/cgroup; grep -c $$ /sys/fs/cgroup/pids/cgroup.procs; touch /sys/fs/cgroup/x 2>&1; mkdir /sys/fs/cgroup/pids/x 2>&1",
      { ...withMounts(CGROUP_MOUNT), linux: { namespaces } },
    );
    expect(stderr).toBe("");
    expect(stdout).toBe(
      `${V1.sort().join("\n")}\n1\n` +
        "touch: /sys/fs/cgroup/x: Read-only file system\n" +
        "mkdir: can't create directory '/sys/fs/cgroup/pids/x': Read-only file system\n",
    );
  }
});

it("cgroup: without ro the container may make groups of its own", () => {
  if (unified) return;
  const options = ["nosuid", "noexec", "nodev"];
  const { stdout, stderr } = playground.script(
    "mkdir /sys/fs/cgroup/pids/x && rmdir /sys/fs/cgroup/pids/x && echo made",
    withMounts({ ...CGROUP_MOUNT, options }),
  );
  expect({ stdout, stderr }).toEqual({ stdout: "made\n", stderr: "" });
});

itWithUsers("cgroup v2: a container with a namespace of its own owns its group, where it may write", () => {
  if (!unified) return skipped("delegation: no cgroup v2 here");
  Bun.spawnSync(["chown", "-R", "-h", "100000:100000", playground.rootfs]);
  const types = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];
  const mappings = [{ containerID: 0, hostID: 100000, size: 1000 }];
  const { stdout, stderr } = playground.script(
    "stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x && echo made",
    {
      ...withMounts({ ...CGROUP_MOUNT, options: ["nosuid", "noexec", "nodev"] }),
      linux: { namespaces: types.map((type) => ({ type })), uidMappings: mappings, gidMappings: mappings },
    },
  );
  expect({ stdout, stderr }).toEqual({ stdout: "0\n0\nmade\n", stderr: "" });
});

it("a thousand mounts are no more than a few", () => {
  const file = path.join(source, "file");
  const many = Array.from({ length: 1000 }, (_, index) => ({
    destination: `/many/${index % 10}/${index}/file`,
    type: "bind",
    source: file,
    options: ["bind", "ro"],
  }));
  const { stdout, stderr } = playground.script("cat /many/9/999/file; grep -c /many/ /proc/self/mountinfo", {
    ...withMounts(...many),
    linux: { maskedPaths: Array.from({ length: 300 }, (_, index) => `/many/${index % 10}/${index}/no`) },
  });
  expect({ stdout, stderr }).toEqual({ stdout: "outer1000\n", stderr: "" });
}, 30_000);

it("--no-pivot moves the root, and leaves no whole procfs or sysfs of the host below it", () => {
  const id = playground.id();
  playground.write(
    playground.config({
      process: {
        args: [
          "sh",
          "-c",
          "ls -d /home; cat /proc/1/comm; grep -cE ' / [^ ]+ .* - (proc|sysfs) ' /proc/self/mountinfo",
        ],
      },
      linux: { cgroupsPath: playground.groupOf(id) },
    }),
  );
  const { stdout, stderr, code } = playground.command([
    "run",
    "--no-pivot",
    "--bundle",
    playground.bundle,
    id,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  // One procfs and one sysfs: the container's own.
  expect(stdout).toBe("/home\nsh\n2\n");
  const refused = playground.run({ linux: { rootfsPropagation: "rprivate" } }, { flags: ["--no-pivot"] });
  expect(refused.stderr).toContain("rootfsPropagation of [r]private is not safe without pivot_root");
});

it("a shared volume stays shared with the host when rootfsPropagation says so, and nothing else leaks", () => {
  const shared = path.join(playground.dir, "shared");
  fs.mkdirSync(path.join(shared, "inner"), { recursive: true });
  mount("--bind", shared, shared);
  mount("--make-shared", shared);
  try {
    const CAPS = ["CAP_SYS_ADMIN"];
    const { stderr } = playground.script("mount -t tmpfs from-inside /m/inner", {
      ...withMounts({ destination: "/m", type: "bind", source: shared, options: ["bind", "shared"] }),
      process: { capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS } },
      linux: { rootfsPropagation: "shared" },
    });
    expect(stderr).toBe("");
    const here = fs.readFileSync("/proc/self/mounts", "utf8");
    expect(here).toContain(`from-inside ${shared}/inner`);
    expect(here).not.toContain(playground.rootfs);
  } finally {
    Bun.spawnSync(["umount", `${shared}/inner`]);
    Bun.spawnSync(["umount", shared]);
  }
});

it.each([
  [
    "a missing source",
    { destination: "/m", type: "bind", source: "/nonexistent", options: ["bind"] },
    'error mounting "/nonexistent" to rootfs at "/m": stat /nonexistent: no such file or directory',
  ],
  [
    "an unknown file system",
    { destination: "/m", type: "nosuchfs", source: "x" },
    'error mounting "x" to rootfs at "/m": mount src=x, dst=/m: no such device',
  ],
  [
    "an unknown option",
    { destination: "/m", type: "tmpfs", source: "x", options: ["noexec", "bogus=1"] },
    'error mounting "x" to rootfs at "/m": mount src=x, dst=/m, flags=MS_NOEXEC, data=bogus=1: invalid argument',
  ],
  [
    "a directory on a file",
    { destination: "/etc/passwd", type: "tmpfs", source: "x" },
    'error mounting "x" to rootfs at "/etc/passwd": mount src=x, dst=/etc/passwd: not a directory',
  ],
  [
    "options of a file system for a bind",
    { destination: "/m", type: "bind", source: "/tmp", options: ["bind", "size=5"] },
    "bind mounts cannot have any filesystem-specific options applied",
  ],
  [
    "idmap of what is no bind",
    { destination: "/m", type: "tmpfs", source: "x", options: ["idmap"] },
    "id-mapped mounts are only supported for bind-mounts",
  ],
  [
    "idmap without mappings",
    { destination: "/m", type: "bind", source: "/tmp", options: ["bind", "idmap"] },
    "id-mapped mounts must have both uid and gid mappings specified",
  ],
  ["the root as its target", { destination: "/x/..", type: "tmpfs", source: "x" }, "is on the top of rootfs"],
] as [string, Mount, string][])("a mount with %s is refused in the original's words", (_, one, words) => {
  const { code, stderr } = playground.run(withMounts(one));
  expect(code).toBe(1);
  expect(JSON.parse(`"${/msg="(.*)"\n/.exec(stderr)?.[1]}"`)).toContain(words);
});
