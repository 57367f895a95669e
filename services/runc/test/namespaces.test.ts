/** linux.namespaces of config-linux.md: user and time namespaces, and joining what is there already. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { BASE_MOUNTS, it, itWithUsers, type Patch, Playground } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => {
  playground.clear();
  expect(playground.leftovers()).toEqual([]);
});

const MAPPINGS = {
  uidMappings: [
    { containerID: 0, hostID: 100000, size: 1000 },
    { containerID: 1000, hostID: 300000, size: 10 },
  ],
  gidMappings: [
    { containerID: 0, hostID: 100000, size: 1000 },
    { containerID: 1000, hostID: 300000, size: 10 },
  ],
};
const TYPES = ["pid", "network", "ipc", "uts", "mount", "cgroup"] as const;
const CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN", "CAP_MKNOD"];

/** A configuration with a user namespace of its own, whose root owns the root file system. */
function withUser(patch: Patch = {}): Patch {
  Bun.spawnSync(["chown", "-R", "-h", "100000:100000", playground.rootfs]);
  const linux = (patch.linux ?? {}) as Patch;
  return {
    ...patch,
    process: {
      capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS },
      ...((patch.process ?? {}) as Patch),
    },
    linux: { namespaces: [...TYPES, "user"].map((type) => ({ type })), ...MAPPINGS, ...linux },
  };
}

itWithUsers("a user namespace: root inside owns what it makes, and is nobody outside", () => {
  const source = path.join(playground.dir, "volume");
  fs.mkdirSync(source);
  fs.chmodSync(source, 0o777);
  const { code, stdout, stderr } = playground.script(
    "id -u; cat /proc/self/uid_map | tr -s ' '; touch /made /m/made; mknod /tmp/n c 1 3 2>&1; stat -c %u /dev/shm /made /proc/1;" +
      "echo x > /dev/null && stat -c '%t %T' /dev/null /dev/full; stat -c %g /dev/pts; mount -t tmpfs t /tmp && echo mounted; cat /proc/self/setgroups",
    withUser({
      mounts: [...BASE_MOUNTS, { destination: "/m", type: "bind", source, options: ["rbind"] }],
    }),
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.trim().split("\n")).toEqual([
    "0",
    " 0 100000 1000",
    " 1000 300000 10",
    "mknod: /tmp/n: Operation not permitted",
    "0",
    "0",
    "0",
    "1 3",
    "1 7",
    "0",
    "mounted",
    "allow",
  ]);
  expect(fs.statSync(path.join(playground.rootfs, "made")).uid).toBe(100000);
  expect(fs.statSync(path.join(source, "made")).uid).toBe(100000);
});

itWithUsers("a user namespace: what its root can't reach is brought, a user of the second range runs", () => {
  const secret = path.join(playground.dir, "private/inner");
  fs.mkdirSync(secret, { recursive: true });
  fs.writeFileSync(path.join(secret, "file"), "reached");
  fs.chmodSync(path.join(playground.dir, "private"), 0o700);
  const { code, stdout, stderr } = playground.script(
    "cat /m/file; echo; id -u; grep Groups /proc/self/status",
    withUser({
      process: { user: { uid: 1001, gid: 1001, additionalGids: [7] } },
      mounts: [
        ...BASE_MOUNTS,
        { destination: "/m", type: "bind", source: secret, options: ["bind", "ro"] },
        { destination: "/f", type: "bind", source: path.join(secret, "file"), options: ["bind"] },
      ],
    }),
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^reached\n1001\nGroups:\t7 /);
});

itWithUsers("exec enters the user namespace, and hooks in the container run as its root", () => {
  const seen = path.join(playground.dir, "seen");
  fs.mkdirSync(seen);
  fs.chmodSync(seen, 0o777);
  const hook = (name: string) => [
    {
      path: "/bin/sh",
      args: ["sh", "-c", `id -u > ${seen}/${name}; cat /proc/self/uid_map >> ${seen}/${name}`],
    },
  ];
  using container = playground.start(
    withUser({ hooks: { prestart: hook("runtime"), createContainer: hook("container") } }),
  );
  const { code, stdout, stderr } = container.script(
    "id -u; cat /proc/self/uid_map | head -1 | tr -s ' '; touch /by-exec",
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe("0\n 0 100000 1000\n");
  expect(fs.statSync(path.join(playground.rootfs, "by-exec")).uid).toBe(100000);
  expect(fs.readFileSync(`${seen}/runtime`, "utf8")).toMatch(/^0\n\s+0\s+0\s/);
  expect(fs.readFileSync(`${seen}/container`, "utf8")).toMatch(/^0\n\s+0\s+100000\s+1000/);
  expect(fs.statSync(`${seen}/container`).uid).toBe(100000);
  expect(container.exec(["id", "-u"], ["--user", "1003:1003"]).stdout).toBe("1003\n");
});

itWithUsers("a user namespace keeps the flags that the host has locked, and refuses to drop them", () => {
  const source = path.join(playground.dir, "locked");
  fs.mkdirSync(source);
  Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,mode=777", "t", source]);
  try {
    const seen = "awk '$5 == \"/m\" { print $6 }' /proc/self/mountinfo";
    const mounts = (...options: string[]) => [
      ...BASE_MOUNTS,
      { destination: "/m", type: "bind", source, options },
    ];
    const { stdout, stderr } = playground.script(seen, withUser({ mounts: mounts("rbind", "ro") }));
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^ro,nosuid,nodev,noexec/);
    const refused = playground.script(seen, withUser({ mounts: mounts("rbind", "exec") }));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("cannot clear locked flags MS_NOEXEC");
    const times = playground.script(seen, withUser({ mounts: mounts("rbind", "strictatime") }));
    expect(times.stderr).toContain("cannot change locked atime flags MS_RELATIME");
    // With the host's rights they do go, as nobody has locked them.
    expect(playground.script(seen, { mounts: mounts("rbind", "ro") }).stdout).toMatch(/^ro,relatime/);
  } finally {
    Bun.spawnSync(["umount", source]);
  }
});

const OTHERS = TYPES.filter((type) => type !== "mount");
const fileOf = (type: string) => (type === "network" ? "net" : type);

it.each(OTHERS)(
  "a %s namespace is joined by its path, the others are new",
  (type) => {
    using first = playground.start();
    const at = `/proc/${first.pid}/ns`;
    const namespaces = TYPES.map((each) =>
      each === type ? { type, path: `${at}/${fileOf(type)}` } : { type: each },
    );
    using second = playground.start({ linux: { namespaces } });
    for (const other of OTHERS) {
      const [theirs, its] = [first, second].map(({ pid }) =>
        fs.readlinkSync(`/proc/${pid}/ns/${fileOf(other)}`),
      );
      if (other === type) expect(its).toBe(theirs as string);
      else expect(its).not.toBe(theirs as string);
    }
  },
  30_000,
);

// Its path is looked up from the root of that namespace, which is another one than ours in a chroot.
itWithUsers("a mount namespace is joined by its path, and what is mounted there is seen", async () => {
  const holder = Bun.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-c", "exec sleep 1000"]);
  try {
    while (fs.readlinkSync(`/proc/${holder.pid}/ns/mnt`) === fs.readlinkSync("/proc/self/ns/mnt"))
      Bun.sleepSync(1);
    const namespaces = [
      ...OTHERS.map((type) => ({ type })),
      { type: "mount", path: `/proc/${holder.pid}/ns/mnt` },
    ];
    using container = playground.start({ linux: { namespaces } });
    expect(fs.readlinkSync(`/proc/${container.pid}/ns/mnt`)).toBe(
      fs.readlinkSync(`/proc/${holder.pid}/ns/mnt`),
    );
    expect(container.script("echo $$ > /tmp/x; cat /proc/self/comm").stdout).toBe("cat\n");
  } finally {
    holder.kill();
    await holder.exited;
  }
});

itWithUsers(
  "a user namespace is joined by its path, together with one that it owns and new ones",
  () => {
    using first = playground.start(withUser());
    const at = (file: string) => `/proc/${first.pid}/ns/${file}`;
    const namespaces = [
      { type: "user", path: at("user") },
      { type: "network", path: at("net") },
      { type: "pid", path: at("pid") },
      { type: "mount" },
      { type: "uts" },
      { type: "ipc" },
      { type: "cgroup" },
    ];
    const caps = { bounding: CAPS, effective: CAPS, permitted: CAPS };
    using second = playground.start({ process: { capabilities: caps }, linux: { namespaces } });
    for (const file of ["user", "net", "pid"]) {
      expect(fs.readlinkSync(`/proc/${second.pid}/ns/${file}`)).toBe(fs.readlinkSync(at(file)));
    }
    const { stdout, stderr } = second.script(
      "id -u; hostname; touch /two; ps -o args | grep -c '^sleep 1000'",
    );
    expect({ stdout, stderr }).toEqual({ stdout: "0\nplayground\n2\n", stderr: "" });
    expect(fs.statSync(path.join(playground.rootfs, "two")).uid).toBe(100000);
    const wrong = playground.run({
      linux: { namespaces, uidMappings: [{ containerID: 0, hostID: 5, size: 1 }] },
    });
    expect(wrong.stderr).toContain("both namespace path and non-matching mapping specified");
  },
  30_000,
);

itWithUsers("a new user namespace goes with a network namespace that belongs to the host", async () => {
  const holder = Bun.spawn(["unshare", "--net", "sleep", "1000"]);
  try {
    while (fs.readlinkSync(`/proc/${holder.pid}/ns/net`) === fs.readlinkSync("/proc/self/ns/net"))
      Bun.sleepSync(1);
    const namespaces = [
      ...["pid", "ipc", "uts", "mount", "cgroup", "user"].map((type) => ({ type })),
      { type: "network", path: `/proc/${holder.pid}/ns/net` },
    ];
    // A sysfs belongs to the network namespace's owner.
    const mounts = BASE_MOUNTS.filter(({ type }) => type !== "sysfs");
    const { code, stdout, stderr } = playground.script(
      "id -u; readlink /proc/self/ns/net",
      withUser({ mounts: [...mounts], linux: { namespaces, maskedPaths: [], readonlyPaths: [] } }),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(`0\n${fs.readlinkSync(`/proc/${holder.pid}/ns/net`)}\n`);
  } finally {
    holder.kill();
    await holder.exited;
  }
});

itWithUsers.each([
  ["no mappings", { linux: { uidMappings: undefined } }, "no uid mappings found"],
  [
    "no mapping of root",
    { linux: { gidMappings: [{ containerID: 5, hostID: 5, size: 1 }] } },
    "no mapping found for gid 0",
  ],
  [
    "overlapping mappings",
    {
      linux: {
        uidMappings: [
          { containerID: 0, hostID: 5, size: 10 },
          { containerID: 5, hostID: 50, size: 10 },
        ],
      },
    },
    "failed to write uid_map",
  ],
] as [string, Patch, string][])("a user namespace with %s is refused", (_, patch, words) => {
  const { code, stderr } = playground.run(withUser(patch));
  expect(code).toBe(1);
  expect(stderr).toContain(words);
});

it("a joined pid namespace: its processes are seen, and neither runc nor what shares its memory (CVE-2019-5736)", () => {
  const watch = "while :; do for p in /proc/[0-9]*; do readlink $p/exe; done; done > /seen 2>/dev/null";
  const CAPS_ALL = [...CAPS, "CAP_SYS_PTRACE"];
  const capabilities = { bounding: CAPS_ALL, effective: CAPS_ALL, permitted: CAPS_ALL };
  using first = playground.start({ process: { args: ["sh", "-c", watch], capabilities } });
  const namespaces = TYPES.map((type) =>
    type === "pid" ? { type, path: `/proc/${first.pid}/ns/pid` } : { type },
  );
  for (let round = 0; round < 5; round++) {
    using second = playground.start({ linux: { namespaces } });
    const { stdout } = second.script("cat /proc/1/comm");
    expect(stdout).toBe("sh\n");
    expect(fs.readFileSync(path.join(playground.root, second.id, "state.json"), "utf8")).toContain(
      `"pid":${second.pid},`,
    );
  }
  const seen = new Set(fs.readFileSync(path.join(playground.rootfs, "seen"), "utf8").split("\n"));
  expect(seen.size).toBeGreaterThan(1);
  expect([...seen].filter((line) => line.includes("runc"))).toEqual([]);
}, 30_000);

itWithUsers("a new user namespace and a joined pid namespace of the host go together", () => {
  using first = playground.start();
  const namespaces = [...TYPES, "user"].map((type) =>
    type === "pid" ? { type, path: `/proc/${first.pid}/ns/pid` } : { type },
  );
  // A procfs belongs to the pid namespace's owner.
  const mounts = BASE_MOUNTS.filter(({ type }) => type !== "proc");
  const { code, stdout, stderr } = playground.script(
    "id -u; touch /joined",
    withUser({ mounts: [...mounts], linux: { namespaces, maskedPaths: [], readonlyPaths: [] } }),
  );
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "0\n", stderr: "" });
  expect(fs.statSync(path.join(playground.rootfs, "joined")).uid).toBe(100000);
});

const uptime = (text: string) => Number(text.split(" ")[0]);

it("a time namespace has the offsets of the configuration from the first program on", () => {
  const namespaces = [...TYPES, "time"].map((type) => ({ type }));
  const timeOffsets = { monotonic: { secs: 7000000 }, boottime: { secs: 9000000 } };
  const { stdout } = playground.script("cat /proc/uptime", { linux: { namespaces, timeOffsets } });
  expect(uptime(stdout)).toBeGreaterThan(9000000);
});

it("a time namespace is joined by its path, and by exec", () => {
  const namespaces = [...TYPES, "time"].map((type) => ({ type }));
  using first = playground.start({ linux: { namespaces, timeOffsets: { boottime: { secs: 9000000 } } } });
  expect(uptime(first.exec(["cat", "/proc/uptime"]).stdout)).toBeGreaterThan(9000000);
  const at = `/proc/${first.pid}/ns/time`;
  using second = playground.start({
    linux: { namespaces: [...TYPES.map((type) => ({ type })), { type: "time", path: at }] },
  });
  expect(fs.readlinkSync(`/proc/${second.pid}/ns/time`)).toBe(fs.readlinkSync(at));
  expect(uptime(second.exec(["cat", "/proc/uptime"]).stdout)).toBeGreaterThan(9000000);
});
