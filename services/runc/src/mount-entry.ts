import {
  attach,
  attributesOf,
  bindChange,
  cloneTree,
  flagNames,
  flagsOfStatfs,
  type Kind,
  LeadsIntoProc,
  type MountOptions,
  MS_ATIME,
  MS_LOCKABLE,
  makeFileSystem,
  type Rooted,
  setAttributes,
  setPropagation,
  superblockWords,
} from "@longshore/mounts";
import type { Mount } from "@longshore/oci";
import {
  CallError,
  errnoText,
  fstatfs,
  MOUNT_ATTR_IDMAP,
  MS_BIND,
  MS_I_VERSION,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  Slot,
  stat,
  statfs,
} from "@longshore/syscalls";
import { addCgroupMount } from "./cgroup-mounts.ts";
import { copyUp } from "./copy-up.ts";
import { makeProcOf } from "./proc-mount.ts";
import { cleanDestination, type LaterReadonly, type RootfsPlan } from "./rootfs-plan.ts";
import { reason, StartError } from "./start-error.ts";
import { mappingNamespace } from "./user-namespace.ts";

const PROC_SUPER_MAGIC = 0x9fa0;

/** Files of a procfs that may be covered; lxcfs does. */
function mayCover(path: string): boolean {
  switch (path) {
    case "/proc/cpuinfo":
    case "/proc/diskstats":
    case "/proc/meminfo":
    case "/proc/stat":
    case "/proc/swaps":
    case "/proc/uptime":
    case "/proc/loadavg":
    case "/proc/slabinfo":
    case "/proc/sys/kernel/ns_last_pid":
    case "/proc/sys/crypto/fips_enabled":
      return true;
    default:
      return false;
  }
}

/** Whether the options ask for a bind, which makes a mount's type meaningless. */
export function isBind({ type }: Mount, { flags }: MountOptions): boolean {
  return type === "bind" || (flags & MS_BIND) !== 0;
}

/** One mount of the specification, with what is known of it. */
interface MountEntry {
  rooted: Rooted;
  plan: RootfsPlan;
  mount: Mount;
  options: MountOptions;
  /** Of a bind absolute. */
  source: string;
  /** Clean and absolute. */
  destination: string;
}

/** Queue one mount of the specification. */
export function addMount(
  rooted: Rooted,
  plan: RootfsPlan,
  mount: Mount,
  options: MountOptions,
  later: LaterReadonly,
): void {
  const { hand } = rooted;
  const bind = isBind(mount, options);
  const { source = "" } = mount;
  const entry: MountEntry = {
    rooted,
    plan,
    mount,
    options,
    source: bind && !source.startsWith("/") ? `${plan.bundle}/${source}` : source,
    destination: cleanDestination(mount.destination),
  };
  hand.calls.wording = (error) => `${failure(entry)}: ${wordsOf(entry, error)}`;
  if (plan.porter) plan.porter.wording = hand.calls.wording;
  try {
    refuseOverProc(entry, bind);
    if ((options.flags & MS_REMOUNT) !== 0) remount(entry, bind);
    else if (bind) addBind(entry);
    else if (mount.type === "cgroup" || mount.type === "cgroup2") {
      addCgroupMount(rooted, plan, mount, options);
    } else addFileSystem(entry, later);
  } catch (error) {
    if (error instanceof StartError || (error instanceof CallError && error.wording)) throw error;
    throw new StartError(`error during container init: ${failure(entry)}: ${plainWords(error)}`);
  }
  hand.calls.wording = undefined;
}

const failure = ({ mount: { source = "", destination } }: MountEntry): string =>
  `error mounting ${JSON.stringify(source)} to rootfs at ${JSON.stringify(destination)}`;

/** `stat /nonexistent: no such file or directory` */
function plainWords(error: unknown): string {
  if (error instanceof Error && "syscall" in error) {
    return `${error.message.replace(/: E\w+$/, "")}: ${reason(error)}`;
  }
  return reason(error);
}

function wordsOf({ mount, options, source }: MountEntry, error: CallError): string {
  const { destination, type = "" } = mount;
  const why = errnoText(error.errno);
  switch (error.syscall) {
    case "openat2":
    case "mkdirat":
    case "openat":
    case "readlinkat":
      if ((type === "proc" || type === "sysfs") && (error.code === "ELOOP" || error.code === "ENOTDIR")) {
        return `filesystem ${JSON.stringify(type)} must be mounted on ordinary directory`;
      }
      return `create mountpoint for ${destination} mount: ${error.syscall} ${error.about}: ${why}`;
    case "mount_setattr":
      return `${error.about}: ${why}`;
    default: {
      const names = flagNames(options.flags);
      const flags = names === "" ? "" : `, flags=${names}`;
      const data = options.data.length === 0 ? "" : `, data=${options.data.join(",")}`;
      return `mount src=${source || mount.source || ""}, dst=${destination}${flags}${data}: ${why}`;
    }
  }
}

/** What a program finds in /proc must be the kernel's own (CVE-2019-16884, CVE-2023-27561). */
function refuseOverProc({ plan, mount, source, destination }: MountEntry, bind: boolean): void {
  const path = `${plan.rootfs}${destination}`;
  if (destination === "/") {
    throw new StartError(
      `error during container init: ${failure({ mount } as MountEntry)}: mountpoint ${JSON.stringify(path)} is on the top of rootfs ${JSON.stringify(plan.rootfs)}`,
    );
  }
  if (destination !== "/proc" && !destination.startsWith("/proc/")) return;
  if (destination === "/proc") {
    if (bind ? statfs(source).type === PROC_SUPER_MAGIC : mount.type === "proc") return;
    throw new Error(`${JSON.stringify(path)} cannot be mounted because it is not of type proc`);
  }
  if (!mayCover(destination)) throw new LeadsIntoProc(path);
}

function addBind(entry: MountEntry): void {
  const { rooted, plan, mount, options, source } = entry;
  const { hand } = rooted;
  const kind: Kind = (stat(source).mode & 0o170000) === 0o040000 ? "directory" : "file";
  const recursive = (options.flags & MS_REC) !== 0;
  const made = plan.porter ? plan.porter.tree(source, recursive) : cloneTree(hand, source, { recursive });
  if (options.idMap !== undefined || mount.uidMappings || mount.gidMappings) mapIds(entry, made);
  if ((options.flags & ~(MS_BIND | MS_REC)) !== 0 || options.cleared !== 0) {
    changeBind(entry, made);
  }
  finish(entry, made, kind);
}

/** Queue: the attributes of a bind. Those that the kernel has locked stay, unless the user asked for them to go. */
function changeBind({ rooted, options, source }: MountEntry, made: Slot | number): void {
  const { hand } = rooted;
  const change = bindChange(options.flags);
  setAttributes(hand, made, change, {
    about: "failed to set user-requested vfs flags on bind-mount: mount",
    recover: (error, retry) => {
      if (error.code !== "EPERM") throw error;
      const fd = made instanceof Slot ? hand.result(made) : made;
      const had = flagsOfStatfs(fstatfs(fd).flags);
      const refuse = (words: string): never => {
        const start = "failed to set user-requested vfs flags on bind-mount: cannot";
        throw new CallError(error.errno, error.syscall, `${start} ${words}: mount ${source}`, error.wording);
      };
      const wanted = had & options.cleared & MS_LOCKABLE;
      if (wanted !== 0) refuse(`clear locked flags ${flagNames(wanted)}`);
      const times = options.flags & MS_ATIME;
      if (times !== 0 && times !== (had & MS_ATIME)) {
        refuse(`change locked atime flags ${flagNames(had & MS_ATIME)}`);
      }
      retry({ set: change.set & ~0x70, clear: 0 });
      return undefined;
    },
  });
}

function mapIds({ rooted, plan, mount, options, source }: MountEntry, made: Slot | number): void {
  const { uidMappings, gidMappings } = mount.uidMappings ? mount : (plan.mappings ?? {});
  const userNamespace = mappingNamespace(uidMappings ?? [], gidMappings ?? []);
  const about = `failed to set MOUNT_ATTR_IDMAP on ${source}`;
  const change = { set: MOUNT_ATTR_IDMAP, clear: 0 };
  const how = { recursive: options.idMap === "all", userNamespace, about };
  // In a user namespace the right to do so is the host's.
  if (plan.porter && !(made instanceof Slot)) plan.porter.setAttributes(made, change, how);
  else setAttributes(rooted.hand, made, change, how);
}

function addFileSystem(entry: MountEntry, later: LaterReadonly): void {
  const { rooted, mount, options, source, destination } = entry;
  const { hand } = rooted;
  const { type = "" } = mount;
  let { flags } = options;
  // Things are still to be put there: it becomes read-only in the end.
  const delayed = (flags & MS_RDONLY) !== 0 && (type === "tmpfs" || destination === "/dev");
  if (delayed) flags &= ~MS_RDONLY;
  if ((flags & MS_I_VERSION) !== 0) {
    mountPlainly(entry, flags);
    return;
  }
  const data = [...options.data, ...superblockWords(flags)];
  // As mount(8): read-only holds for the file system as well, where it is made for this container.
  if ((flags & MS_RDONLY) !== 0 && type !== "proc" && type !== "sysfs") data.push("ro");
  const mode = type === "tmpfs" && !data.some((option) => option.startsWith("mode=")) && modeAt(entry);
  if (typeof mode === "number") data.unshift(`mode=${mode.toString(8).padStart(4, "0")}`);
  const how = { source, options: data, attributes: attributesOf(flags) };
  const { pidFd } = entry.plan;
  const made =
    type === "proc" && pidFd !== undefined
      ? makeProcOf(hand, { pidFd, ownUsers: entry.plan.mappings !== undefined, ...how })
      : makeFileSystem(hand, type, how);
  if (options.copyUp && type === "tmpfs") copyUp(rooted, destination, made, entry.plan.mappings);
  finish(entry, made, "directory", delayed);
  if (delayed) later.push({ mount: made, destination });
}

/** The permissions of what a tmpfs will cover: it gets the same. Undefined when nothing is there. */
function modeAt({ rooted, destination }: MountEntry): number | undefined {
  const { hand } = rooted;
  const at = hand.calls.arena.room(144);
  const target = rooted.open(destination, { skipOnError: 2 });
  const done = hand.call("newfstatat", [target, hand.text(""), hand.calls.arena.base + at, 0x1000]);
  rooted.close(target);
  hand.run();
  if (hand.result(target) < 0 || hand.result(done) < 0) return undefined;
  return hand.calls.arena.bytes.readUInt32LE(at + 24) & 0o7777;
}

/** Queue: attach a detached mount to its target, and the rest of its options. */
function finish(
  { rooted, mount, options, source, destination }: MountEntry,
  made: Slot | number,
  kind: Kind,
  keepOpen = false,
): void {
  const { hand } = rooted;
  const { recursiveAttributes } = options;
  if (recursiveAttributes.set !== 0 || recursiveAttributes.clear !== 0) {
    const about = `failed to set recursive mount attributes on ${mount.destination}`;
    setAttributes(hand, made, recursiveAttributes, { recursive: true, about });
  }
  // A link there would let an image choose what is seen as procfs (CVE-2019-19921).
  // The devices are made in /dev, so that is no link either (CVE-2026-41579).
  const plain = mount.type === "proc" || mount.type === "sysfs" || destination === "/dev";
  const target = rooted.openOrMake(mount.destination, kind, { plain });
  attach(hand, made, target, `${source || mount.type} on ${mount.destination}`);
  rooted.close(target);
  for (const propagation of options.propagation) setPropagation(hand, made, propagation);
  if (!keepOpen) rooted.close(made);
}

/** Queue: mount(2), for what fsmount(2) has no words for, or to change what is mounted at the target. */
function mountPlainly({ rooted, mount, options, source }: MountEntry, flags: number): void {
  const { hand } = rooted;
  const target = rooted.openOrMake(mount.destination, "directory");
  const old = hand.call("openat", [-100, hand.text("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC]);
  hand.call("fchdir", [target], { about: mount.destination });
  const data = options.data.length === 0 ? 0 : hand.text(options.data.join(","));
  const args = [hand.text(source), hand.text("."), hand.text(mount.type ?? ""), flags, data];
  hand.call("mount", args, { about: mount.destination });
  hand.call("fchdir", [old]);
  for (const fd of [old, target]) rooted.close(fd);
  if (options.propagation.length === 0) return;
  const top = rooted.open(mount.destination);
  for (const propagation of options.propagation) setPropagation(hand, top, propagation);
  rooted.close(top);
}

/** Queue: change what is mounted at the target already. */
function remount(entry: MountEntry, bind: boolean): void {
  const { rooted, mount, options } = entry;
  if (!bind) {
    mountPlainly(entry, options.flags);
    return;
  }
  const target = rooted.openOrMake(mount.destination, "directory");
  changeBind(entry, target);
  for (const propagation of options.propagation) setPropagation(rooted.hand, target, propagation);
  rooted.close(target);
}
