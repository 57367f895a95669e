import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { lackingForSystemd, PrivateSystemd, systemdDir } from "@longshore/testkit";

const runc = process.env.LONGSHORE_RUNC ?? path.join(import.meta.dir, "../../../dist/bin/runc");
const reason = [...lackingForSystemd, ...(fs.existsSync(runc) ? [] : [runc])];
const unified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
const it = reason.length > 0 ? test.skip : test;
if (reason.length > 0) console.log(`runc --systemd-cgroup needs ${reason.join(", ")} for its test`);

const dir = systemdDir("runc");
let systemd: PrivateSystemd | undefined;

function inside(...command: string[]): { code: number; output: string } {
  if (!systemd) throw new Error("systemd has not been booted");
  return systemd.inside(...command);
}

const run = (...args: string[]) =>
  inside(path.join(dir, "runc"), "--root", path.join(dir, "state"), "--systemd-cgroup", ...args);

function configure(cgroupsPath: string, resources: object = {}, annotations: object = {}): string {
  const bundle = path.join(dir, "bundle");
  const file = path.join(bundle, "config.json");
  fs.rmSync(file, { force: true });
  Bun.spawnSync([runc, "spec", "--bundle", bundle]);
  const config = JSON.parse(fs.readFileSync(file, "utf8"));
  config.process.terminal = false;
  config.process.args = ["/bin/busybox", "sleep", "1000"];
  config.annotations = annotations;
  Object.assign(config.linux, { cgroupsPath });
  Object.assign(config.linux.resources, resources);
  fs.writeFileSync(file, JSON.stringify(config));
  return bundle;
}

beforeAll(async () => {
  for (const name of ["bin", "proc", "sys", "dev"]) {
    fs.mkdirSync(path.join(dir, "bundle/rootfs", name), { recursive: true });
  }
  if (reason.length > 0) return;
  fs.copyFileSync("/bin/busybox", path.join(dir, "bundle/rootfs/bin/busybox"));
  fs.writeFileSync(path.join(dir, "runc"), "");
  systemd = await PrivateSystemd.boot({ dir, prepare: [`mount --bind ${runc} .${dir}/runc`] });
}, 60_000);

afterAll(async () => {
  await systemd?.[Symbol.asyncDispose]();
  fs.rmSync(dir, { recursive: true, force: true });
});

it("a container is a transient scope of systemd, with its limits as properties and in the files", () => {
  const bundle = configure(
    "test-some.slice:box:one",
    { memory: { limit: 64 << 20 }, cpu: { quota: 20_000, period: 100_000 }, pids: { limit: 55 } },
    { "org.systemd.property.RuntimeMaxSec": "3600" },
  );
  expect(run("create", "--bundle", bundle, "one").output).toBe("");
  const show = (property: string) =>
    inside("systemctl", "show", "-p", property, "--value", "box-one.scope").output.trim();
  expect(show("ActiveState")).toBe("active");
  expect(show("Slice")).toBe("test-some.slice");
  expect(show("Delegate")).toBe("yes");
  expect(show(unified ? "MemoryMax" : "MemoryLimit")).toBe(String(64 << 20));
  expect(show("TasksMax")).toBe("55");
  expect(show("CPUQuotaPerSecUSec")).toBe("200ms");
  expect(show("RuntimeMaxUSec")).toBe("1h");
  const scope = "test.slice/test-some.slice/box-one.scope";
  const top = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
  const memoryLimit = () => {
    const file = `${top}/${scope}/${unified ? "memory.max" : "memory.limit_in_bytes"}`;
    return inside("cat", file).output.trim();
  };
  expect(memoryLimit()).toBe(String(64 << 20));
  expect(run("start", "one").output).toBe("");
  const { pid: init } = JSON.parse(run("state", "one").output) as { pid: number };
  const groups = inside("cat", `/proc/${init}/cgroup`).output.trim().split("\n");
  expect(groups.filter((line) => !line.endsWith(scope))).toEqual([]);
  expect(run("exec", "one", "/bin/busybox", "true").code).toBe(0);
  expect(run("update", "--pids-limit", "77", "--memory", "32M", "one").output).toBe("");
  expect(show("TasksMax")).toBe("77");
  expect(memoryLimit()).toBe(String(32 << 20));
  // systemd reads all its files anew: its own limits are the same as ours.
  expect(inside("systemctl", "daemon-reload").code).toBe(0);
  expect(memoryLimit()).toBe(String(32 << 20));
  expect(run("pause", "one").output).toBe("");
  expect(JSON.parse(run("state", "one").output).status).toBe("paused");
  expect(run("delete", "--force", "one").output).toBe("");
  expect(show("ActiveState")).toBe("inactive");
  expect(inside("ls", "-d", `${top}/${scope}`).code).not.toBe(0);
}, 60_000);

it("a path that isn't systemd's, and a slice that can't be, are refused", () => {
  expect(run("create", "--bundle", configure("/not/systemd"), "bad").output).toContain(
    'expected cgroupsPath to be of format \\"slice:prefix:name\\" for systemd cgroups, got \\"/not/systemd\\" instead',
  );
  expect(run("create", "--bundle", configure("a--b.slice:x:y"), "bad").output).toContain(
    "invalid slice name",
  );
  expect(run("list", "-q").output).toBe("");
}, 60_000);

test.skipIf(process.getuid?.() !== 0 || !fs.existsSync(runc) || fs.existsSync("/run/systemd/system"))(
  "--systemd-cgroup without systemd is refused in words",
  () => {
    const bundle = configure("system.slice:box:two");
    const result = Bun.spawnSync(
      [runc, "--root", path.join(dir, "state"), "--systemd-cgroup", "create", "--bundle", bundle, "two"],
      { stdin: "ignore", stderr: "pipe" },
    );
    expect(result.exitCode).toBe(1);
    expect(result.stderr.toString()).toContain(
      "systemd not running on this host, cannot use systemd cgroups manager",
    );
  },
);
