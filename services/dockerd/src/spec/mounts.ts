import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import type { Mount } from "@longshore/oci";
import type { HostConfig } from "../containers/container-config.ts";

const SHM_BYTES = 64 * 1024 * 1024;
const BIND_OPTIONS = [
  "ro",
  "rw",
  "rshared",
  "shared",
  "rslave",
  "slave",
  "rprivate",
  "private",
  "rbind",
  "bind",
];

/** Files of this daemon that appear in the container's /etc. */
export interface EtcFiles {
  hosts: string;
  hostname: string;
  resolvConf: string;
}

/** What a container finds mounted, in the order to mount it: parents before what lies in them. */
export function mountsOf(host: HostConfig, etc: EtcFiles): Mount[] {
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
    mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", ...writable),
    mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    ...shm(host),
    bind("/etc/resolv.conf", etc.resolvConf),
    bind("/etc/hostname", etc.hostname),
    bind("/etc/hosts", etc.hosts),
    ...host.Binds.map((spec) => bindMount(parseBind(spec))),
    ...Object.entries(host.Tmpfs).map(([target, options]) => tmpfs(target, options)),
  ];
  const given = new Set(
    [...host.Binds.map((spec) => parseBind(spec).target), ...Object.keys(host.Tmpfs)].map(clean),
  );
  // What the user mounts at the same place takes the place of ours.
  const own = mounts.length - host.Binds.length - Object.keys(host.Tmpfs).length;
  const kept = mounts.filter(({ destination }, index) => index >= own || !given.has(destination));
  return kept
    .map((entry, index) => ({ entry, index }))
    .sort((a, b) => depth(a.entry.destination) - depth(b.entry.destination) || a.index - b.index)
    .map(({ entry }) => entry);
}

export interface Bind {
  source: string;
  target: string;
  readonly: boolean;
  propagation: string;
}

/**
 * One `-v` value with an absolute host path: `/host:/container[:ro,rshared,…]`.
 * @throws EngineError `invalid_argument` for anything else
 */
export function parseBind(spec: string): Bind {
  const [source = "", target = "", mode = "", ...more] = spec.split(":");
  if (target === "" || more.length > 0) {
    throw new EngineError("invalid_argument", `invalid volume specification: '${spec}'`);
  }
  if (!path.isAbsolute(source)) {
    throw new EngineError("invalid_argument", `HostConfig.Binds: named volumes are not supported: '${spec}'`);
  }
  if (!path.isAbsolute(target)) {
    throw new EngineError(
      "invalid_argument",
      `invalid volume specification: '${spec}': invalid mount config for type "bind": invalid mount path: '${target}' mount path must be absolute`,
    );
  }
  if (clean(target) === "/") {
    throw new EngineError(
      "invalid_argument",
      `invalid volume specification: '${spec}': invalid specification: destination can't be '/'`,
    );
  }
  const words = mode === "" ? [] : mode.split(",");
  for (const word of words) {
    if (word === "z" || word === "Z" || word === "nocopy") {
      throw new EngineError("invalid_argument", `HostConfig.Binds: mode ${word} is not supported: '${spec}'`);
    }
    if (!BIND_OPTIONS.includes(word)) throw new EngineError("invalid_argument", `invalid mode: ${mode}`);
  }
  const propagation = words.find((word) => /^r?(shared|slave|private)$/.test(word)) ?? "rprivate";
  return { source: clean(source), target: clean(target), readonly: words.includes("ro"), propagation };
}

/** Make the host directories of binds that don't exist yet, as `-v` does. */
export function makeBindSources(binds: readonly string[]): void {
  for (const { source } of binds.map(parseBind)) {
    if (!fs.existsSync(source)) fs.mkdirSync(source, { recursive: true, mode: 0o755 });
  }
}

function shm(host: HostConfig): Mount[] {
  if (host.IpcMode === "none") return [];
  if (host.IpcMode === "host") return [mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate")];
  const size = host.ShmSize > 0 ? host.ShmSize : SHM_BYTES;
  return [mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", `size=${size}`)];
}

function tmpfs(target: string, options: string): Mount {
  if (!path.isAbsolute(target)) {
    throw new EngineError("invalid_argument", `invalid mount path: '${target}' mount path must be absolute`);
  }
  const given = options === "" ? [] : options.split(",");
  return mount(clean(target), "tmpfs", "tmpfs", "noexec", "nosuid", "nodev", "rprivate", ...given);
}

function bindMount({ source, target, readonly, propagation }: Bind): Mount {
  return mount(target, "bind", source, "rbind", propagation, ...(readonly ? ["ro"] : []));
}

function bind(target: string, source: string): Mount {
  return mount(target, "bind", source, "rbind", "rprivate");
}

function mount(destination: string, type: string, source: string, ...options: string[]): Mount {
  return { destination, type, source, options };
}

function clean(file: string): string {
  const normal = path.normalize(file);
  return normal.length > 1 ? normal.replace(/\/$/, "") : normal;
}

function depth(file: string): number {
  return file.split("/").length;
}
