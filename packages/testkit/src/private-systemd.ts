import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { eventually } from "./eventually.ts";

/*
 * A systemd of its own, as process 1 of private namespaces, with its own part of each cgroup hierarchy. It must see nothing of the
 * machine that it could write to: when it boots it empties /tmp, sets kernel parameters and more. So it gets a root in memory, /usr
 * read-only, no units but an empty target, and is not started unless that is so.
 */

const systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].find((file) => fs.existsSync(file));

const unified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");

/** From 256 on it doesn't boot where there are hierarchies of version 1. */
function bootsHere(program: string): boolean {
  if (unified) return true;
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return Number(/^systemd (\d+)/.exec(stdout ?? "")?.[1]) < 256;
}

/** What this machine lacks for a systemd of a test's own. */
export const lackingForSystemd: readonly string[] = [
  ...(process.getuid?.() === 0 ? [] : ["root"]),
  ...(systemd ? (bootsHere(systemd) ? [] : ["systemd that knows cgroup v1"]) : ["systemd"]),
  ...(fs.existsSync("/bin/busybox") ? [] : ["/bin/busybox"]),
  ...(fs.lstatSync("/bin").isSymbolicLink() ? [] : ["programs in /usr alone"]),
];

/** Below /sys/fs/cgroup; the one of v2 alone is that itself. */
const hierarchies = lackingForSystemd.length > 0 ? [] : unified ? ["."] : fs.readdirSync("/sys/fs/cgroup");

const BOOT_MS = 40_000;
const REMOVE_MS = 20_000;

/** Empty for a process that isn't there, or no longer. */
function readIfThere(file: string): string {
  try {
    return fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

/** Joins a group of its own everywhere, makes that the top of what it sees, moves into its own root, and becomes systemd. */
const boot = ({ dir, group, prepare }: { dir: string; group: string; prepare: string }) => `
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
  ${prepare}
  pivot_root . old
  umount -l /old
  [ ! -e /old/usr ] && [ ! -e /home ] && [ ! -e /root ] && ! touch /usr/x 2>/dev/null || exit 9
  exec env -i container=test PATH=/usr/sbin:/usr/bin ${systemd} --system --unit=only.target --show-status=no --log-target=null
'`;

export interface SystemdOptions {
  /** A directory that it sees at the same path, and may write to. */
  dir: string;
  /** Shell commands, each a line without single quotes, in the root that it is about to have. */
  prepare?: readonly string[];
}

/** A booted systemd; disposing of it ends all that runs beside it. */
export class PrivateSystemd implements AsyncDisposable {
  readonly #dir: string;
  readonly #group: string;
  #child: Bun.Subprocess | undefined;
  #pid = 0;

  private constructor({ dir }: SystemdOptions) {
    this.#dir = dir;
    this.#group = path.basename(dir);
  }

  static async boot(options: SystemdOptions): Promise<PrivateSystemd> {
    const { dir, prepare = [] } = options;
    const booted = new PrivateSystemd(options);
    const log = path.join(dir, "boot");
    fs.mkdirSync(path.join(dir, "root"));
    const script = boot({ dir, group: booted.#group, prepare: prepare.join("\n  ") });
    const child = Bun.spawn(
      ["unshare", "-pmfiun", "--kill-child", "--propagation", "private", "sh", "-c", script],
      { stdin: "ignore", stdout: Bun.file(log), stderr: Bun.file(log) },
    );
    booted.#child = child;
    try {
      await booted.#answers(child);
      return booted;
    } catch (error) {
      const why = fs.readFileSync(log, "utf8");
      await booted[Symbol.asyncDispose]();
      throw new Error(`systemd doesn't answer: ${why}`, { cause: error });
    }
  }

  async #answers(child: Bun.Subprocess): Promise<void> {
    const children = `/proc/${child.pid}/task/${child.pid}/children`;
    await eventually(
      () => {
        if (child.exitCode !== null) return true;
        const pid = Number(readIfThere(children).split(" ")[0]);
        if (!(pid > 0)) return false;
        this.#pid = pid;
        if (readIfThere(`/proc/${pid}/comm`) !== "systemd") return false;
        return this.inside("systemctl", "list-units").code === 0;
      },
      { timeoutMs: BOOT_MS },
    );
    if (child.exitCode !== null) throw new Error(`it has ended with ${child.exitCode}`);
  }

  /** Run a command beside that systemd. */
  inside(...command: string[]): { code: number; output: string } {
    const output = path.join(this.#dir, "output");
    const fd = fs.openSync(output, "w+");
    // In v2 systemd may only move what is in its own part of the hierarchy.
    const leaf = path.join("/sys/fs/cgroup", this.#group, "commands");
    const join = unified ? `mkdir -p ${leaf}; echo 0 > ${leaf}/cgroup.procs; ` : "";
    const enter = `${join}exec timeout 40 nsenter -t ${this.#pid} -m -p -i -u -n -C "$@"`;
    const result = Bun.spawnSync(["sh", "-c", enter, "sh", ...command], {
      stdin: "ignore",
      stdout: fd,
      stderr: fd,
    });
    fs.closeSync(fd);
    return { code: result.exitCode, output: fs.readFileSync(output, "utf8") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Slices stay, also in hierarchies that systemd has mounted for itself: once nobody has those mounted there is no way to them. The
    // kernel lets go of removed groups a moment later.
    const clean =
      "find /sys/fs/cgroup -depth -type d -name '*.slice' -exec rmdir {} ';' 2>/dev/null; sleep 0.2";
    if (this.#pid > 0) this.inside("sh", "-c", clean);
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    for (const hierarchy of hierarchies) {
      const top = path.join("/sys/fs/cgroup", hierarchy, this.#group);
      // What was in it is being killed with process 1 of its namespace.
      const end = Date.now() + REMOVE_MS;
      while (fs.existsSync(top) && Date.now() < end) {
        Bun.spawnSync(["find", top, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], {
          stderr: "ignore",
        });
        await Bun.sleep(10);
      }
    }
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** A directory for {@link PrivateSystemd.boot}. */
export const systemdDir = (name: string) => fs.mkdtempSync(path.join(os.tmpdir(), `${name}-systemd-`));
