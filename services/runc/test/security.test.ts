/** Attacks that runtimes fell for, tried. The list of names and tests is in the README. */
import { afterAll, afterEach, expect } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { AF_UNIX, bindUnix, close, listen, SOCK_STREAM, socket } from "@longshore/syscalls";
import { eventually } from "@longshore/testkit";
import { BASE_MOUNTS, CGROUP_MOUNT, combine, it, type Patch, Playground, runc } from "./playground.ts";

const playground = new Playground();
const inRoot = (...names: string[]) => path.join(playground.rootfs, ...names);
afterEach(() => playground.clear());
afterAll(() => playground[Symbol.dispose]());

const capabilities = (...names: string[]): Patch => ({
  process: {
    noNewPrivileges: false,
    capabilities: Object.fromEntries(["bounding", "effective", "permitted"].map((set) => [set, names])),
  },
});
/** Whoever may do most of what a container may be allowed without being let out. */
const STRONG = ["CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_KILL", "CAP_CHOWN", "CAP_FOWNER", "CAP_SYS_CHROOT"];

const digest = (file: string) => crypto.createHash("sha256").update(fs.readFileSync(file)).digest("hex");

/** What a script in the container has written to a file of its /tmp. */
function written(name: string): string {
  const file = inRoot("tmp", name);
  return fs.existsSync(file) ? fs.readFileSync(file, "latin1") : "";
}

/** Replace a part of the root file system for one test. */
function replaced(name: string, make: (at: string) => void): Disposable {
  const at = inRoot(name);
  const aside = `${at}.aside`;
  const there = fs.existsSync(at);
  if (there) fs.renameSync(at, aside);
  make(at);
  return {
    [Symbol.dispose]() {
      fs.rmSync(at, { recursive: true, force: true });
      if (there) fs.renameSync(aside, at);
    },
  };
}

/** A directory of the host that nothing may be written to. */
const outside = path.join(playground.dir, "outside");
fs.mkdirSync(outside, { recursive: true });
const touched = () => fs.readdirSync(outside);

/** Look at every process that appears in /proc, as fast as a shell can, and note what its executable is. */
const WATCH =
  "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; l=$(readlink $p/exe) && case $l in /bin/busybox) ;; *) echo $l >> /tmp/seen; (: > $p/exe; dd if=/etc/passwd of=$p/exe conv=notrunc) ;; esac; done; done 2>/dev/null";

/** Start many processes beside one that watches them. */
function watchExecs(caps: string[]): string[] {
  const before = digest(runc);
  fs.rmSync(inRoot("tmp/seen"), { force: true });
  using container = playground.start(
    combine({ process: { args: ["sh", "-c", WATCH] } }, capabilities(...caps)),
  );
  for (let round = 0; round < 40; round++) expect(container.exec(["true"]).code).toBe(0);
  expect(digest(runc)).toBe(before);
  return [...new Set(written("seen").trim().split("\n").filter(Boolean))];
}

it("CVE-2019-5736: what an exec shows of itself in /proc is never the runtime's file", () => {
  for (const seen of watchExecs(STRONG)) expect(seen).toMatch(/^(\/memfd:|\/ ?)/);
});

// Who may trace everything inside sees more of a process that is being made.
it("CVE-2019-5736: not even with CAP_SYS_PTRACE", () => {
  for (const seen of watchExecs([...STRONG, "CAP_SYS_PTRACE"])) expect(seen).toMatch(/^(\/memfd:|\/ ?)/);
});

it("CVE-2019-5736: a container that starts /proc/self/exe doesn't start the runtime, and can't write it", () => {
  const before = digest(runc);
  for (const args of [
    ["/proc/self/exe"],
    ["/proc/1/exe", "--version"],
    ["sh", "-c", "for p in /proc/*/exe; do echo x > $p; done"],
  ]) {
    const { stdout } = playground.run(
      combine({ process: { args } }, capabilities(...STRONG, "CAP_SYS_PTRACE")),
    );
    expect(stdout).not.toContain("runc");
  }
  expect(digest(runc)).toBe(before);
});

it("CVE-2019-5736: a created container's process is a sealed file of its own", () => {
  using container = playground.create();
  const exe = `/proc/${container.pid}/exe`;
  const [own, theirs] = [fs.statSync(runc), fs.statSync(exe)];
  expect([theirs.dev, theirs.ino]).not.toEqual([own.dev, own.ino]);
  expect(() => fs.openSync(exe, "r+")).toThrow(/ETXTBSY|EROFS|EPERM/);
});

it("CVE-2016-9962, CVE-2024-21626: no descriptor of the caller or of runc is left in a process", () => {
  const open = [outside, "/", "/etc/passwd", playground.root, "/proc/self/ns/mnt"].map((file) => {
    fs.mkdirSync(playground.root, { recursive: true });
    return fs.openSync(file, "r");
  });
  try {
    const list = "for f in /proc/self/fd/*; do readlink $f; done | wc -l; ls /proc/1/fd; true";
    // ls itself has the directory open.
    const { stdout, stderr } = playground.script(list, {}, { fds: open });
    expect({ stdout, stderr }).toEqual({ stdout: "3\n0\n1\n2\n", stderr: "" });
    using container = playground.start({}, { fds: open });
    expect(container.script("ls /proc/1/fd", [], { fds: open }).stdout).toBe("0\n1\n2\n");
    expect(container.script("exec ls /proc/self/fd", [], { fds: open }).stdout).toBe("0\n1\n2\n3\n");
  } finally {
    for (const fd of open) fs.closeSync(fd);
  }
});

it("CVE-2016-9962: --preserve-fds gives the process these and no others", () => {
  const open = [inRoot("etc/passwd"), "/etc/hostname"].map((file) => fs.openSync(file, "r"));
  try {
    const args = ["sh", "-c", "ls /proc/1/fd; head -1 <&3"];
    const { stdout } = playground.run({ process: { args } }, { fds: open, flags: ["--preserve-fds", "1"] });
    expect(stdout).toBe("0\n1\n2\n3\nroot:x:0:0::/root:/bin/sh\n");
  } finally {
    for (const fd of open) fs.closeSync(fd);
  }
});

it("CVE-2016-9962: a process that is being started by exec can't be looked into from inside", () => {
  const watch =
    "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; for f in $p/fd/* $p/cwd $p/root; do l=$(readlink $f) && echo $l >> /tmp/links; done; done; done 2>/dev/null";
  fs.rmSync(inRoot("tmp/links"), { force: true });
  using container = playground.start(
    combine({ process: { args: ["sh", "-c", watch] } }, capabilities(...STRONG)),
  );
  for (let round = 0; round < 20; round++) container.exec(["true"]);
  const links = [...new Set(written("links").trim().split("\n").filter(Boolean))];
  // Its streams are the caller's files, by design; nothing else of the host.
  const foreign = links.filter(
    (link) =>
      !/^(\/|(\/.*)?\/dev\/null|pipe:.*|\/proc(\/.*)?|\/tmp\/links)$/.test(link) &&
      !/\.(out|err)$/.test(link),
  );
  expect(foreign).toEqual([]);
});

it("CVE-2016-9962: who kills every process that appears kills no runtime", () => {
  const kill = "while :; do kill -9 -1; done 2>/dev/null";
  using container = playground.start(
    combine({ process: { args: ["sh", "-c", kill] } }, capabilities(...STRONG, "CAP_SYS_PTRACE")),
  );
  for (let round = 0; round < 20; round++) {
    // The process may be killed, at any moment; runc tells it.
    expect([0, 137, 255]).toContain(container.exec(["true"]).code);
  }
  expect(container.state().status).toBe("running");
});

it("CVE-2024-21626: a working directory in /proc/self/fd is refused, by create and by exec", () => {
  const open = [fs.openSync("/", "r"), fs.openSync(outside, "r")];
  fs.symlinkSync("/proc/self/fd/9", inRoot("link9"));
  try {
    using container = playground.start({}, { fds: open });
    const script = ["sh", "-c", "pwd; ls; cat ../../../../etc/hostname"];
    for (let fd = 3; fd < 16; fd++) {
      const cwd = `/proc/self/fd/${fd}`;
      expect(playground.run({ process: { args: script, cwd } }, { fds: open }).code).toBe(1);
      expect(container.exec(script, ["--cwd", cwd], { fds: open }).code).toBe(255);
    }
    for (const cwd of [
      "/link9",
      "/proc/1/cwd/../../..",
      "/proc/thread-self/fd/4",
      "/proc/1/root/proc/self/fd/5",
    ]) {
      for (const result of [
        playground.run({ process: { args: script, cwd } }, { fds: open }),
        container.exec(script, ["--cwd", cwd], { fds: open }),
      ]) {
        // Refused, or a directory inside.
        if (result.code === 0) expect(result.stdout).toMatch(/^\/\n/);
        expect(result.stdout).not.toContain("vmlinuz");
      }
    }
  } finally {
    fs.rmSync(inRoot("link9"));
    for (const fd of open) fs.closeSync(fd);
  }
});

it("CVE-2024-21626: the working directory lies inside, however deep it is and whoever moves it", () => {
  fs.mkdirSync(inRoot("deep/er"), { recursive: true });
  const { code, stdout } = playground.script("pwd; readlink /proc/1/cwd; cd ../../../../..; pwd; ls etc", {
    process: { cwd: "/deep/er" },
  });
  expect({ code, stdout }).toEqual({ code: 0, stdout: "/deep/er\n/deep/er\n/\npasswd\n" });
});

it.each([
  ["/proc is a link", "proc", (at: string) => fs.symlinkSync("/tmp", at)],
  ["/proc is a link upwards", "proc", (at: string) => fs.symlinkSync("../../outside", at)],
  ["/proc is a file", "proc", (at: string) => fs.writeFileSync(at, "")],
  ["/sys is a link", "sys", (at: string) => fs.symlinkSync("/etc", at)],
  ["/sys is a file", "sys", (at: string) => fs.writeFileSync(at, "")],
] as const)(
  "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: an image in which %s is refused",
  (_, name, make) => {
    using _replaced = replaced(name, make);
    const { code, stderr } = playground.script("echo started");
    expect(code).toBe(1);
    expect(stderr).toContain("level=error");
    expect(playground.leftovers()).toEqual([]);
    expect(touched()).toEqual([]);
  },
);

it("CVE-2019-16884: a mount over /proc that hides its protection is refused or of no effect", () => {
  fs.mkdirSync(inRoot("fake/self/attr"), { recursive: true });
  for (const destination of ["/proc", "/proc/self", "/proc/sys", "/proc/1", "/proc/self/attr"]) {
    const { code, stderr } = playground.script("echo started", {
      mounts: [
        ...BASE_MOUNTS,
        { destination, type: "bind", source: path.join(playground.rootfs, "fake"), options: ["bind"] },
      ],
    });
    expect({ destination, code }).toEqual({ destination, code: 1 });
    expect(stderr).toMatch(/proc/);
  }
  expect(playground.leftovers()).toEqual([]);
});

it.each([
  ["a link to a directory of the host", "escape/target", (): string => outside],
  ["a link upwards", "escape/target", (): string => `../../../../../../../..${outside}`],
  ["a link to a link", "escape/target", (): string => "/escape/hop"],
] as const)("CVE-2021-30465: the target of a mount is %s: nothing is mounted outside", (_, target, to) => {
  using _replaced = replaced("escape", (at) => {
    fs.mkdirSync(at);
    fs.symlinkSync(to(), inRoot(target));
    fs.symlinkSync(outside, path.join(at, "hop"));
  });
  fs.writeFileSync(path.join(outside, "witness"), "");
  try {
    const { code, stdout } = playground.script("touch /escape/target/inside; ls /escape/target", {
      mounts: [...BASE_MOUNTS, { destination: "/escape/target", type: "tmpfs", source: "tmpfs" }],
    });
    if (code === 0) expect(stdout).toBe("inside\n");
    expect(touched()).toEqual(["witness"]);
    // It made what the link names inside the root, if anything.
    fs.rmSync(inRoot("tmp", path.relative("/tmp", outside)), { recursive: true, force: true });
  } finally {
    fs.rmSync(path.join(outside, "witness"));
  }
});

it("CVE-2021-30465, CVE-2024-45310: a mount target that is swapped for a link all the time is never outside", async () => {
  const volume = path.join(playground.dir, "volume");
  fs.mkdirSync(path.join(volume, "dir"), { recursive: true });
  // Two names that change places as fast as can be: a directory, and a link out of the container.
  const swapper = Bun.spawn(
    [
      "/bin/busybox",
      "sh",
      "-c",
      `cd ${volume}; ln -s ${outside} link; while :; do mv -T dir x; mv -T link dir; mv -T dir link; mv -T x dir; done 2>/dev/null`,
    ],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  try {
    for (let round = 0; round < 40; round++) {
      const { stdout } = playground.script("cat /proc/self/mountinfo | wc -l", {
        mounts: [
          ...BASE_MOUNTS,
          { destination: "/volume", type: "bind", source: volume, options: ["rbind"] },
          { destination: "/volume/dir/made", type: "tmpfs", source: "tmpfs" },
          { destination: "/volume/dir/file", type: "bind", source: "/etc/hostname", options: ["bind"] },
          { destination: "/volume/dir", type: "tmpfs", source: "tmpfs" },
        ],
      });
      expect(stdout).toMatch(/^(\d+\n)?$/);
      expect(touched()).toEqual([]);
    }
  } finally {
    swapper.kill("SIGKILL");
    await swapper.exited;
  }
  // What the swapper has started last ends a moment after it.
  await eventually(() => playground.leftovers().length === 0);
}, 60_000);

it("CVE-2025-31133: a /dev/null that is a link or another device is not used as a mask", () => {
  const secret = path.join(playground.dir, "host-secret");
  fs.writeFileSync(secret, "of the host");
  const dev = path.join(playground.dir, "evil-dev");
  fs.mkdirSync(dev, { recursive: true });
  for (const target of [secret, "/proc/sysrq-trigger", "/etc/passwd"]) {
    fs.rmSync(path.join(dev, "null"), { force: true });
    fs.symlinkSync(target, path.join(dev, "null"));
    const { code, stdout } = playground.script("cat /masked 2>/dev/null; ls -l /dev/null", {
      mounts: BASE_MOUNTS.map((mount) =>
        mount.destination === "/dev"
          ? { destination: "/dev", type: "bind", source: dev, options: ["rbind"] }
          : mount,
      ).filter(({ destination }) => !/^\/dev\/./.test(destination)),
      linux: { maskedPaths: ["/masked", "/etc/passwd"] },
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(fs.readlinkSync(path.join(dev, "null"))).toBe(target);
  }
  fs.writeFileSync(inRoot("masked"), "secret");
  try {
    fs.rmSync(path.join(dev, "null"), { force: true });
    fs.writeFileSync(path.join(dev, "null"), "not a device");
    const { code, stdout } = playground.script("cat /masked", {
      mounts: BASE_MOUNTS.map((mount) =>
        mount.destination === "/dev"
          ? { destination: "/dev", type: "bind", source: dev, options: ["rbind"] }
          : mount,
      ).filter(({ destination }) => !/^\/dev\/./.test(destination)),
      linux: { maskedPaths: ["/masked"] },
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  } finally {
    fs.rmSync(inRoot("masked"));
  }
});

it("CVE-2025-31133: a masked path that is a link is masked where it leads inside, and nowhere outside", () => {
  using _link = replaced("masked-link", (at) => fs.symlinkSync("/../../../../../../etc/hostname", at));
  fs.writeFileSync(inRoot("etc/hostname"), "inside");
  const { stdout } = playground.script("cat /etc/hostname", { linux: { maskedPaths: ["/masked-link"] } });
  expect(stdout).toBe("");
  expect(fs.readFileSync("/etc/hostname", "utf8")).not.toBe("");
  fs.rmSync(inRoot("etc/hostname"));
});

it.each([
  ["a link to the host", (at: string) => fs.symlinkSync(outside, at)],
  ["a link to /proc", (at: string) => fs.symlinkSync("/proc", at)],
  ["a link upwards", (at: string) => fs.symlinkSync("../../outside", at)],
] as const)("CVE-2026-41579: an image whose /dev is %s gets no devices elsewhere", (_, make) => {
  using _replaced = replaced("dev", make);
  playground.script("ls /dev > /dev/null");
  expect(touched()).toEqual([]);
  expect(playground.leftovers()).toEqual([]);
});

it("CVE-2025-52565: /dev/console and /dev/ptmx that are links get no terminal outside the container", () => {
  const victim = path.join(outside, "victim");
  fs.writeFileSync(victim, "of the host");
  const dev = path.join(playground.dir, "console-dev");
  fs.mkdirSync(path.join(dev, "pts"), { recursive: true });
  const mounts = BASE_MOUNTS.filter(({ destination }) => !/^\/dev\/(shm|mqueue)/.test(destination)).map(
    (mount) =>
      mount.destination === "/dev"
        ? { destination: "/dev", type: "bind", source: dev, options: ["bind"] }
        : mount,
  );
  for (const target of [victim, "/proc/sysrq-trigger", "../../../../../../etc/passwd", "pts/0"]) {
    for (const name of ["console", "ptmx"]) {
      fs.rmSync(path.join(dev, name), { force: true });
      fs.symlinkSync(target, path.join(dev, name));
    }
    const address = path.join(playground.dir, "console.sock");
    const listener = socket(AF_UNIX, SOCK_STREAM);
    bindUnix(listener, address);
    listen(listener);
    const id = playground.id("console");
    const terminal = {
      process: { terminal: true, args: ["sleep", "1000"] },
      linux: { cgroupsPath: playground.groupOf(id) },
    };
    playground.write(playground.config({ mounts }, terminal));
    playground.command(["create", "--console-socket", address, "--bundle", playground.bundle, id]);
    playground.command(["delete", "--force", id]);
    close(listener);
    fs.rmSync(address);
    expect(fs.readFileSync(victim, "utf8")).toBe("of the host");
    expect(fs.lstatSync(victim).isFile()).toBe(true);
    expect(playground.leftovers()).toEqual([]);
  }
  fs.rmSync(victim);
});

it("CVE-2025-52881: sysctls are written to the kernel's own files, whatever the image has at /proc", () => {
  using _sys = replaced("trap", (at) => {
    fs.mkdirSync(path.join(at, "sys/net/ipv4"), { recursive: true });
    fs.writeFileSync(path.join(at, "sys/net/ipv4/ip_forward"), "untouched");
  });
  // Bound over /proc it must be refused; elsewhere it is nobody's business.
  const trap = { type: "bind", source: inRoot("trap"), options: ["rbind"] };
  for (const mounts of [
    [{ ...trap, destination: "/proc" }, ...BASE_MOUNTS.slice(1)],
    [...BASE_MOUNTS, { ...trap, destination: "/proc/sys", source: inRoot("trap/sys") }],
    [...BASE_MOUNTS.slice(1)],
  ]) {
    const { code, stdout } = playground.script("cat /proc/sys/net/ipv4/ip_forward 2>/dev/null", {
      mounts,
      linux: { sysctl: { "net.ipv4.ip_forward": "1" }, maskedPaths: [], readonlyPaths: [] },
    });
    expect({ code, stdout }).not.toMatchObject({ code: 0, stdout: "0\n" });
    expect(fs.readFileSync(inRoot("trap/sys/net/ipv4/ip_forward"), "utf8")).toBe("untouched");
  }
});

it("CVE-2021-43784: namespaces, mappings and names of any length are refused or taken whole", () => {
  const long = "x".repeat(70_000);
  for (const config of [
    { hostname: long },
    { linux: { namespaces: [{ type: "mount" }, { type: "network", path: `/${long}` }] } },
    {
      linux: {
        namespaces: [{ type: "mount" }, { type: "user" }],
        uidMappings: Array.from({ length: 4000 }, (_, index) => ({
          containerID: index,
          hostID: index,
          size: 1,
        })),
        gidMappings: [{ containerID: 0, hostID: 0, size: 1 }],
      },
    },
    { process: { args: ["true", long.repeat(3)] } },
    { process: { env: [`A=${long.repeat(3)}`] } },
    { process: { cwd: `/${long}` } },
  ]) {
    const { code, stderr } = playground.run(config);
    // What the kernel refuses at the very last, when runc has gone, is 255.
    expect([1, 255]).toContain(code);
    expect(stderr).toMatch(/level=error|too long/);
    expect(stderr).not.toMatch(/\.ts:|\n {4}at /);
  }
  expect(playground.leftovers()).toEqual([]);
});

it("CVE-2022-29162, CVE-2022-24769, CVE-2022-27650: exec gives what is asked for, and nothing inheritable", () => {
  using container = playground.start(capabilities("CAP_KILL"));
  const sets = (...flags: string[]) =>
    container
      .script("grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f 2", flags)
      .stdout.split("\n");
  const zero = "0".repeat(16);
  const bits = (bit: bigint) => bit.toString(16).padStart(16, "0");
  expect(sets().slice(0, 5)).toEqual([zero, bits(0x20n), bits(0x20n), bits(0x20n), zero]);
  const more = sets("--cap", "CAP_CHOWN");
  expect(more.slice(0, 5)).toEqual([zero, bits(0x21n), bits(0x21n), bits(0x21n), zero]);
  // Another user's process has none.
  expect(sets("--user", "1000").slice(0, 3)).toEqual([zero, zero, zero]);
});

it.each(["+0", "-1", "0x0", "1e3", "2147483648", "4294967296", " 0", "0 ", "root:x", "0:0:0", "", "٣"])(
  "CVE-2026-30892, CVE-2024-40635: exec refuses the user %j",
  (user) => {
    using container = playground.start();
    const { code, stdout } = container.script("id -u", ["--user", user]);
    // Nothing at all stands for what the container has.
    if (user !== "") expect(code).not.toBe(0);
    expect(stdout === "" || stdout === "0\n").toBe(true);
  },
);

it("CVE-2023-25809: /sys/fs/cgroup can't be written, with a cgroup namespace and without", () => {
  for (const types of [
    ["pid", "mount", "uts", "ipc", "network", "cgroup"],
    ["pid", "mount", "uts", "ipc", "network"],
  ]) {
    const script =
      "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/made 2>/dev/null && echo $d; done; find /sys/fs/cgroup -name release_agent -exec sh -c 'echo x > $0' {} ';' 2>/dev/null; echo end";
    const config: Patch = {
      ...capabilities("CAP_DAC_OVERRIDE"),
      mounts: [...BASE_MOUNTS, CGROUP_MOUNT],
      linux: { namespaces: types.map((type) => ({ type })) },
    };
    expect(playground.script(script, config).stdout).toBe("end\n");
  }
});

it("a container's process has no signal, keyring, terminal or session of the caller", () => {
  const { stdout } = playground.script("cut -d ' ' -f 5-8 /proc/1/stat; ls -l /proc/1/fd | grep -c tty");
  // Process group and session of its own, no terminal.
  expect(stdout).toMatch(/^1 1 0 -1\n0\n$/);
});

it("state and root directories are closed to others, under any umask", () => {
  const state = path.join(playground.dir, "other-state");
  const config = playground.config({ linux: { cgroupsPath: playground.groupOf("umask") } });
  playground.write(config);
  const result = Bun.spawnSync(
    [
      "sh",
      "-c",
      'umask 0; exec "$@" > /dev/null 2>&1 < /dev/null',
      "sh",
      runc,
      "--root",
      state,
      "create",
      "--bundle",
      playground.bundle,
      "umask",
    ],
    { timeout: 20_000 },
  );
  try {
    expect(result.exitCode).toBe(0);
    expect(fs.statSync(state).mode & 0o077).toBe(0);
    for (const name of fs.readdirSync(path.join(state, "umask"))) {
      expect({ name, mode: fs.statSync(path.join(state, "umask", name)).mode & 0o022 }).toEqual({
        name,
        mode: 0,
      });
    }
  } finally {
    Bun.spawnSync([runc, "--root", state, "delete", "--force", "umask"]);
  }
});
