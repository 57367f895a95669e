import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

// A systemd of its own, as process 1 of private namespaces, with its own part of each cgroup hierarchy. It must see nothing of the
// machine that it could write to: when it boots it empties /tmp, sets kernel parameters and more. So it gets a root in memory, /usr read-only,
// no units but an empty target, and is not started unless that is so.

const runc = process.env.LONGSHORE_RUNC ?? path.join(import.meta.dir, "../../../dist/bin/runc");
const systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].find((file) => fs.existsSync(file));
const reason = [
  process.getuid?.() !== 0 && "root",
  !fs.existsSync(runc) && runc,
  !systemd && "systemd",
  !fs.existsSync("/bin/busybox") && "/bin/busybox",
  !fs.lstatSync("/bin").isSymbolicLink() && "programs in /usr alone",
].filter(Boolean);
const unified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
const it = reason.length > 0 ? test.skip : test;
if (reason.length > 0) console.log(`runc --systemd-cgroup needs ${reason.join(", ")} for its test`);

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "runc-systemd-"));
const group = path.basename(dir);
/** Below /sys/fs/cgroup; the one of v2 alone is that itself. */
const hierarchies = reason.length > 0 ? [] : unified ? ["."] : fs.readdirSync("/sys/fs/cgroup");
let child: Bun.Subprocess | undefined;
let pid = 0;

/** Joins a group of its own everywhere, makes that the top of what it sees, moves into its own root, and becomes systemd. */
const BOOT = `
set -e
for h in ${hierarchies.map((name) => path.join("/sys/fs/cgroup", name)).join(" ")}; do
  for c in $(cat $h/cgroup.controllers 2>/dev/null); do
    ${unified} && echo +$c > $h/cgroup.subtree_control 2>/dev/null || true
  done
  mkdir $h/${group}
  if [ -e $h/${group}/cpuset.cpus ] && ! ${unified}; then
    cat $h/cpuset.cpus > $h/${group}/cpuset.cpus
    cat $h/cpuset.mems > $h/${group}/cpuset.mems
  fi
  echo 0 > $h/${group}/cgroup.procs
done
exec unshare --cgroup sh -ec '
  mount -t tmpfs tmpfs ${dir}/root
  touch ${dir}/runc
  cd ${dir}/root
  mkdir -p usr etc/systemd/system var tmp run proc sys dev old .${dir}
  for l in bin sbin lib lib32 lib64 libx32; do [ ! -L /$l ] || ln -s usr/$l $l; done
  mount --bind /usr usr
  mount -o remount,bind,ro usr
  echo root:x:0:0:root:/:/bin/sh > etc/passwd
  echo root:x:0: > etc/group
  echo 0123456789abcdef0123456789abcdef > etc/machine-id
  printf "[Unit]\\nDefaultDependencies=no\\n" > etc/systemd/system/only.target
  mount -t proc proc proc
  mount --bind proc/sys proc/sys
  mount -o remount,bind,ro proc/sys
  mount -t sysfs -o ro sysfs sys
  ${unified} || mount -t tmpfs tmpfs sys/fs/cgroup
  for h in ${hierarchies.join(" ")}; do
    [ $h = . ] || mkdir sys/fs/cgroup/$h
    case $h in
      .) mount -t cgroup2 cgroup2 sys/fs/cgroup;;
      unified) mount -t cgroup2 cgroup2 sys/fs/cgroup/$h;;
      systemd) mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/$h;;
      *) mount -t cgroup -o $h cgroup sys/fs/cgroup/$h;;
    esac
  done
  mount -t tmpfs tmpfs dev
  for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
  mkdir dev/pts dev/shm
  mount --bind ${dir} .${dir}
  mount --bind ${runc} .${dir}/runc
  pivot_root . old
  umount -l /old
  [ ! -e /old/usr ] && [ ! -e /home ] && [ ! -e /root ] && ! touch /usr/x 2>/dev/null || exit 9
  exec env -i container=test PATH=/usr/sbin:/usr/bin ${systemd} --system --unit=only.target --show-status=no --log-target=null
'`;

/** Where commands are, in v2: systemd may only move what is in its own part of the hierarchy. */
const leaf = path.join("/sys/fs/cgroup", group, "commands");

/** Run a command beside that systemd. */
function inside(...command: string[]): { code: number; output: string } {
  const output = path.join(dir, "output");
  const fd = fs.openSync(output, "w+");
  const join = unified ? `mkdir -p ${leaf}; echo 0 > ${leaf}/cgroup.procs; ` : "";
  const enter = `${join}exec timeout 40 nsenter -t ${pid} -m -p -i -u -n -C "$@"`;
  const result = Bun.spawnSync(["sh", "-c", enter, "sh", ...command], {
    stdin: "ignore",
    stdout: fd,
    stderr: fd,
  });
  fs.closeSync(fd);
  return { code: result.exitCode, output: fs.readFileSync(output, "utf8") };
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
  fs.mkdirSync(path.join(dir, "root"));
  for (const name of ["bin", "proc", "sys", "dev"]) {
    fs.mkdirSync(path.join(dir, "bundle/rootfs", name), { recursive: true });
  }
  if (reason.length > 0) return;
  fs.copyFileSync("/bin/busybox", path.join(dir, "bundle/rootfs/bin/busybox"));
  const log = path.join(dir, "boot");
  child = Bun.spawn(["unshare", "-pmfiun", "--kill-child", "--propagation", "private", "sh", "-c", BOOT], {
    stdin: "ignore",
    stdout: Bun.file(log),
    stderr: Bun.file(log),
  });
  for (let attempt = 0; attempt < 300 && child.exitCode === null; attempt++) {
    const children = `/proc/${child.pid}/task/${child.pid}/children`;
    pid = Number(fs.readFileSync(children, "utf8").trim().split(" ")[0]);
    const name = pid > 0 ? fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim() : "";
    if (name === "systemd" && inside("systemctl", "list-units").code === 0) return;
    await Bun.sleep(50);
  }
  throw new Error(`systemd doesn't answer: ${fs.readFileSync(log, "utf8")}`);
}, 60_000);

afterAll(async () => {
  // Slices stay, also in hierarchies that systemd has mounted for itself: once nobody has those mounted there is no way to them. The
  // kernel lets go of removed groups a moment later.
  const clean =
    "find /sys/fs/cgroup -depth -type d -name '*.slice' -exec rmdir {} ';' 2>/dev/null; sleep 0.2";
  if (pid > 0) inside("sh", "-c", clean);
  child?.kill("SIGKILL");
  await child?.exited;
  for (const hierarchy of hierarchies) {
    const top = path.join("/sys/fs/cgroup", hierarchy, group);
    // What was in it is being killed with process 1 of its namespace.
    for (let attempt = 0; fs.existsSync(top) && attempt < 100; attempt++) {
      Bun.spawnSync(["find", top, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], { stderr: "ignore" });
      await Bun.sleep(10);
    }
  }
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
