import path from "node:path";
import { EngineError } from "@longshore/errors";
import type { Mount } from "@longshore/oci";
import type { HostConfig } from "../containers/container-config.ts";
import { clean } from "../volumes/parse-mounts.ts";

const SHM_BYTES = 64 * 1024 * 1024;
/** Files of this daemon that appear in the container's /etc. */
export interface EtcFiles {
  hosts: string;
  hostname: string;
  resolvConf: string;
}

export interface MountInputs {
  host: HostConfig;
  etc: EtcFiles;
  /** What its user has mounted there. */
  mounts?: readonly Mount[];
  /** Where on the host its /dev/shm is; undefined for one that it doesn't share. */
  shm?: string | undefined;
  writableCgroups?: boolean;
}

/** What a container finds mounted, in the order to mount it: parents before what lies in them. */
export function mountsOf({
  host,
  etc,
  mounts: users = [],
  shm: shared,
  writableCgroups = false,
}: MountInputs): Mount[] {
  const writable = host.Privileged ? [] : ["ro"];
  const mounts: Mount[] = [
    mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
    mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    mount(
      "/dev/pts",
      "devpts",
      "devpts",
      "nosuid",
      "noexec",
      "newinstance",
      "ptmxmode=0666",
      "mode=0620",
      "gid=5",
    ),
    mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", ...writable),
    mount(
      "/sys/fs/cgroup",
      "cgroup",
      "cgroup",
      "nosuid",
      "noexec",
      "nodev",
      ...(writableCgroups ? [] : writable),
    ),
    mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    ...shm(host, shared),
    bind("/etc/resolv.conf", etc.resolvConf),
    bind("/etc/hostname", etc.hostname),
    bind("/etc/hosts", etc.hosts),
  ];
  const given = [...users, ...Object.entries(host.Tmpfs).map(([target, options]) => tmpfs(target, options))];
  // What the user mounts at the same place takes the place of ours.
  const taken = new Set(given.map(({ destination }) => destination));
  const kept = [...mounts.filter(({ destination }) => !taken.has(destination)), ...given];
  return kept
    .map((entry, index) => ({ entry, index }))
    .sort((a, b) => depth(a.entry.destination) - depth(b.entry.destination) || a.index - b.index)
    .map(({ entry }) => entry);
}

function shm(host: HostConfig, shared: string | undefined): Mount[] {
  if (host.IpcMode === "none") return [];
  if (host.IpcMode === "host") return [mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate")];
  if (shared !== undefined) return [bind("/dev/shm", shared)];
  const size = host.ShmSize > 0 ? host.ShmSize : SHM_BYTES;
  return [mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", `size=${size}`)];
}

/** @see mount(8), and tmpfs(5) for what has a value */
const TMPFS_FLAGS = new Set(
  (
    "ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime diratime nodiratime " +
    "bind rbind private rprivate shared rshared slave rslave unbindable runbindable relatime norelatime strictatime nostrictatime"
  ).split(" "),
);
const TMPFS_VALUES = new Set(["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"]);

function tmpfs(target: string, options: string): Mount {
  if (!path.isAbsolute(target)) {
    throw new EngineError("invalid_argument", `invalid mount path: '${target}' mount path must be absolute`);
  }
  const given = options.split(",").filter((option) => option !== "" && option !== "defaults");
  for (const option of given) {
    const [name = "", value] = option.split("=", 2);
    if (value === undefined ? !TMPFS_FLAGS.has(name) : !TMPFS_VALUES.has(name))
      throw new EngineError("invalid_argument", `invalid tmpfs option ${JSON.stringify(name)}`);
  }
  return mount(clean(target), "tmpfs", "tmpfs", "noexec", "nosuid", "nodev", "rprivate", ...given);
}

function bind(target: string, source: string): Mount {
  return mount(target, "bind", source, "rbind", "rprivate");
}

function mount(destination: string, type: string, source: string, ...options: string[]): Mount {
  return { destination, type, source, options };
}

function depth(file: string): number {
  return file.split("/").length;
}
