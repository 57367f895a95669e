import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  accept,
  bindUnix,
  close,
  fixedBuffer,
  listen,
  read,
  receiveFds,
  SOCK_STREAM,
  socket,
} from "@longshore/syscalls";

const runc = process.env.LONGSHORE_RUNC ?? path.join(import.meta.dir, "../../../dist/bin/runc");
const missing = !fs.existsSync("/bin/busybox") || process.getuid?.() !== 0 || !fs.existsSync(runc);
const it = missing ? test.skip : test;
if (missing) console.log(`runc tests need root, /bin/busybox and ${runc}`);

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "runc-test-"));
const root = path.join(dir, "state");
const bundle = path.join(dir, "bundle");
let counter = 0;

interface Config {
  process: Record<string, unknown> & { args: string[]; terminal: boolean };
  mounts: Record<string, unknown>[];
  hooks?: unknown;
  linux: Record<string, unknown> & { resources: Record<string, unknown>; cgroupsPath?: string };
}

function command(...args: string[]) {
  const output = path.join(dir, `out${counter++}`);
  // Files, not pipes: a created container keeps its streams open.
  const fd = fs.openSync(output, "w+");
  const result = Bun.spawnSync([runc, "--root", root, ...args], {
    stdin: "ignore",
    stdout: fd,
    stderr: fd,
    timeout: 20000,
  });
  fs.closeSync(fd);
  return { code: result.exitCode, output: fs.readFileSync(output, "utf8") };
}

function configure(change: (config: Config) => void): void {
  const file = path.join(bundle, "config.json");
  fs.rmSync(file, { force: true });
  command("spec", "--bundle", bundle);
  const config = JSON.parse(fs.readFileSync(file, "utf8")) as Config;
  config.process.terminal = false;
  config.linux.cgroupsPath = `/longshore-test-${process.pid}`;
  change(config);
  fs.writeFileSync(file, JSON.stringify(config));
}

/** Run a script in a container of the configuration and give back what it printed. */
function runScript(
  script: string,
  change: (config: Config) => void = () => {},
): { code: number; output: string } {
  configure((config) => {
    config.process.args = ["/bin/busybox", "sh", "-c", script];
    change(config);
  });
  return command("run", "--bundle", bundle, `c${counter++}`);
}

function leftovers(): string[] {
  const groups = Bun.spawnSync([
    "find",
    "/sys/fs/cgroup",
    "-name",
    `longshore-test-${process.pid}`,
  ]).stdout.toString();
  const mounts = fs
    .readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((line) => line.includes(dir));
  const states = fs.existsSync(root) ? fs.readdirSync(root).filter((name) => name !== ".seccomp") : [];
  return [...groups.split("\n").filter(Boolean), ...mounts, ...states];
}

beforeAll(() => {
  for (const name of ["bin", "proc", "sys", "dev", "etc", "tmp"])
    fs.mkdirSync(path.join(bundle, "rootfs", name), { recursive: true });
  if (missing) return;
  fs.copyFileSync("/bin/busybox", path.join(bundle, "rootfs/bin/busybox"));
  fs.symlinkSync("busybox", path.join(bundle, "rootfs/bin/sleep"));
  fs.writeFileSync(path.join(bundle, "rootfs/etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
});

afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

it("run isolates: pid 1, own names, masks, rights, no foreign descriptors, default signals", () => {
  const { code, output } = runScript(
    "b=busybox; echo pid $$; $b hostname; $b cat /proc/self/cgroup; for f in /proc/self/fd/*; do $b basename $f; done | $b tr '\\n' ' '; echo;" +
      "$b grep -E 'SigIgn|SigBlk|CapEff|NoNewPrivs' /proc/self/status; $b ls /sys/firmware | $b wc -l; $b touch /x || echo readonly;" +
      "ulimit -n; exit 3",
    (config) => {
      config.process.env = ["PATH=/bin"];
    },
  );
  expect(code).toBe(3);
  for (const text of [
    "pid 1",
    "runc",
    "readonly",
    "1024",
    "0 1 2 ",
    "CapEff:\t0000000020000420",
    "NoNewPrivs:\t1",
  ]) {
    expect(output).toContain(text);
  }
  expect(output).toContain("SigIgn:\t0000000000000000");
  expect(output).toContain("SigBlk:\t0000000000000000");
  expect(output).not.toContain(`longshore-test-${process.pid}`);
  expect(leftovers()).toEqual([]);
});

it("create waits for start; exec, pause, kill and delete follow the container's state", () => {
  configure((config) => {
    config.process.args = ["sleep", "1000"];
  });
  expect(command("create", "--bundle", bundle, "life").code).toBe(0);
  expect(JSON.parse(command("state", "life").output).status).toBe("created");
  const { pid } = JSON.parse(command("state", "life").output) as { pid: number };
  // What waits is not our executable: nothing inside can reach it through /proc (CVE-2019-5736).
  expect(fs.readlinkSync(`/proc/${pid}/exe`)).toContain("memfd");
  expect(command("start", "life").code).toBe(0);
  expect(command("start", "life").output).toContain("cannot start an already running container");
  expect(command("create", "--bundle", bundle, "life").output).toContain(
    "container with given ID already exists",
  );
  expect(command("exec", "life", "/bin/busybox", "sh", "-c", "exit 7").code).toBe(7);
  const failed = command("exec", "life", "nosuch");
  expect(failed.code).toBe(255);
  expect(failed.output).toContain('exec: \\"nosuch\\": executable file not found in $PATH');
  expect(command("pause", "life").code).toBe(0);
  expect(JSON.parse(command("state", "life").output).status).toBe("paused");
  expect(command("exec", "life", "sleep", "0").output).toContain("cannot exec in a paused container");
  expect(command("resume", "life").code).toBe(0);
  expect(command("delete", "life").output).toContain(
    "cannot delete container life that is not stopped: running",
  );
  expect(command("delete", "--force", "life").code).toBe(0);
  expect(command("state", "life").output).toContain("container does not exist");
  expect(leftovers()).toEqual([]);
});

it("exec never enters the container's pid namespace with its own engine, however often", () => {
  configure((config) => {
    config.process.args = ["sleep", "1000"];
  });
  command("run", "--detach", "--bundle", bundle, "often");
  const codes = Array.from({ length: 10 }, () => command("exec", "often", "/bin/busybox", "true").code);
  command("delete", "--force", "often");
  expect(codes).toEqual(Array(10).fill(0));
});

it.each([
  [
    "a program that isn't there",
    'exec: \\"nosuch\\": executable file not found',
    (c: Config) => {
      c.process.args = ["nosuch"];
    },
  ],
  [
    "one that can't be executed",
    'exec: \\"/etc/passwd\\": permission denied',
    (c: Config) => {
      c.process.args = ["/etc/passwd"];
    },
  ],
  [
    "a working directory outside (CVE-2024-21626)",
    "runc create failed",
    (c: Config) => {
      c.process.cwd = "/proc/self/fd/7";
    },
  ],
  [
    "a mount whose source is missing",
    "no such file or directory",
    (c: Config) => {
      c.mounts.push({ destination: "/m", type: "bind", source: "/nonexistent", options: ["rbind"] });
    },
  ],
  [
    "a processor that the machine hasn't",
    "cpuset.cpus",
    (c: Config) => {
      c.linux.resources.cpu = { cpus: "9999" };
    },
  ],
  [
    "shares of caches on a machine that has none to give",
    "intelRdt is specified in config, but Intel RDT is not enabled",
    (c: Config) => {
      c.linux.intelRdt = { closID: "x" };
    },
  ],
])("create with %s fails in words and leaves nothing", (_, words, change) => {
  configure(change);
  const log = path.join(dir, "log.json");
  fs.rmSync(log, { force: true });
  const { code } = command("--log", log, "--log-format", "json", "create", "--bundle", bundle, "bad");
  expect(code).toBe(1);
  const line = fs.readFileSync(log, "utf8").trim();
  expect(line).toContain(words);
  expect(JSON.parse(line)).toMatchObject({ level: "error" });
  expect(leftovers()).toEqual([]);
});

it("a link in place of /proc is refused", () => {
  fs.rmdirSync(path.join(bundle, "rootfs/proc"));
  fs.symlinkSync("/tmp", path.join(bundle, "rootfs/proc"));
  const { code } = runScript("true");
  fs.unlinkSync(path.join(bundle, "rootfs/proc"));
  fs.mkdirSync(path.join(bundle, "rootfs/proc"));
  expect(code).toBe(1);
});

it("a seccomp profile lets through what it allows, and its program is kept", () => {
  const { code, output } = runScript("/bin/busybox mkdir /tmp/x; echo rc $?", (config) => {
    config.linux.seccomp = {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 95 }],
    };
  });
  expect(output).toContain("rc 1");
  expect(code).toBe(0);
  expect(fs.readdirSync(path.join(root, ".seccomp"))).toHaveLength(1);
});

it("hooks get the state on stdin, and a failing one undoes the container", () => {
  const seen = path.join(dir, "hook-state");
  const hook = (script: string) => [{ path: "/bin/sh", args: ["sh", "-c", script] }];
  expect(
    runScript("true", (config) => {
      config.hooks = { createRuntime: hook(`cat > ${seen}`), poststop: hook(`cat > ${seen}.stop`) };
    }).code,
  ).toBe(0);
  expect(JSON.parse(fs.readFileSync(seen, "utf8"))).toMatchObject({ status: "creating", bundle });
  expect(JSON.parse(fs.readFileSync(`${seen}.stop`, "utf8"))).toMatchObject({ status: "stopped" });
  const { code, output } = runScript("true", (config) => {
    config.hooks = { prestart: hook("exit 9") };
  });
  expect(code).toBe(1);
  expect(output).toContain("error running prestart hook #0");
  expect(leftovers()).toEqual([]);
});

it("a terminal goes to the console socket and becomes the process's own", () => {
  const address = path.join(dir, "console.sock");
  const listener = socket(1, SOCK_STREAM);
  bindUnix(listener, address);
  listen(listener);
  configure((config) => {
    config.process.terminal = true;
    config.process.consoleSize = { height: 31, width: 99 };
    config.process.args = [
      "/bin/busybox",
      "sh",
      "-c",
      "busybox tty; busybox stty size; busybox readlink /proc/1/fd/0",
    ];
    config.process.env = ["PATH=/bin"];
  });
  expect(command("create", "--console-socket", address, "--bundle", bundle, "tty").code).toBe(0);
  const peer = accept(listener);
  const [master] = (peer === undefined ? undefined : receiveFds(peer))?.fds ?? [];
  if (master === undefined) throw new Error("no terminal came");
  command("start", "tty");
  let text = "";
  const into = fixedBuffer(4096);
  try {
    for (;;) text += into.toString("utf8", 0, read(master, into));
  } catch {
    // EIO: the other side is closed.
  }
  for (const fd of [master, peer ?? -1, listener]) close(fd);
  command("delete", "--force", "tty");
  expect(text).toContain("/dev/pts/0");
  expect(text).toContain("31 99");
  expect(leftovers()).toEqual([]);
});
