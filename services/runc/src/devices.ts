import { attach, cloneTree, type Rooted } from "@longshore/mounts";
import type { Device, DeviceRule, Spec } from "@longshore/oci";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  errnoText,
  type Hand,
  makedev,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_NO_SYMLINKS,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
  type Slot,
  stat,
} from "@longshore/syscalls";
import { cleanDestination, type RootfsPlan } from "./rootfs-plan.ts";

/** Devices that every container has (config-linux.md, "Default Devices"). */
const DEFAULT_DEVICES: readonly Device[] = [
  { path: "/dev/null", type: "c", major: 1, minor: 3 },
  { path: "/dev/zero", type: "c", major: 1, minor: 5 },
  { path: "/dev/full", type: "c", major: 1, minor: 7 },
  { path: "/dev/random", type: "c", major: 1, minor: 8 },
  { path: "/dev/urandom", type: "c", major: 1, minor: 9 },
  { path: "/dev/tty", type: "c", major: 5, minor: 0 },
].map((device) => ({ ...device, fileMode: 0o666, uid: 0, gid: 0 }));

const LINKS: readonly [link: string, target: string][] = [
  ["/dev/fd", "/proc/self/fd"],
  ["/dev/stdin", "/proc/self/fd/0"],
  ["/dev/stdout", "/proc/self/fd/1"],
  ["/dev/stderr", "/proc/self/fd/2"],
];

/** What a container may do with devices besides what its specification says: make any node, use the default ones and terminals. */
const DEFAULT_RULES: readonly DeviceRule[] = [
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...DEFAULT_DEVICES.map(
    ({ major, minor }) => ({ allow: true, type: "c", access: "rwm", major, minor }) as DeviceRule,
  ),
  { allow: true, type: "c", major: 136, access: "rwm" },
  { allow: true, type: "c", major: 5, minor: 2, access: "rwm" },
  { allow: true, type: "c", major: 10, minor: 200, access: "rwm" },
];

/** The device rules to enforce: nothing, then what the specification says, then the defaults. */
export function deviceRules(spec: Spec): DeviceRule[] {
  const own = spec.linux?.resources?.devices ?? [];
  const deny: DeviceRule[] = own[0]?.allow === false && isAll(own[0]) ? [] : [{ allow: false, type: "a" }];
  // Everything is allowed already (a privileged container): the defaults would add nothing.
  const everything = own.some(
    (rule, index) => rule.allow === true && isAll(rule) && index === own.length - 1,
  );
  return [...deny, ...own, ...(everything ? [] : DEFAULT_RULES)];
}

function isAll({ type, major, minor }: DeviceRule): boolean {
  return (type === undefined || type === "" || type === "a") && (major ?? -1) < 0 && (minor ?? -1) < 0;
}

const TYPES: Record<string, number> = { c: S_IFCHR, u: S_IFCHR, b: S_IFBLK, p: S_IFIFO };

/** Queue the making of device nodes and links below the container's /dev. The umask must be 0. */
export function makeDevices(rooted: Rooted, plan: RootfsPlan): void {
  const { hand } = rooted;
  const devices = new Map(DEFAULT_DEVICES.map((device) => [device.path, device]));
  for (const device of plan.spec.linux?.devices ?? []) devices.set(device.path, device);
  let openPath = "";
  let directory: Slot | number = rooted.root;
  const inDirectory = (path: string): string => {
    const at = path.lastIndexOf("/");
    const parent = path.slice(0, at) || "/";
    if (parent !== openPath) {
      if (openPath !== "") rooted.close(directory);
      directory = openDirectory(rooted, parent);
      openPath = parent;
    }
    return path.slice(at + 1);
  };
  for (const device of devices.values()) {
    const { path } = device;
    // Only there for the device rules, or made by makePtmx.
    if (path === "" || cleanDestination(path) === "/dev/ptmx") continue;
    hand.calls.wording = (error) =>
      `configuring container /dev: error creating device nodes: ${error.syscall} ${path}: ${errnoText(error.errno)}`;
    const name = inDirectory(path);
    if (plan.bindDevices) bindDevice(rooted, plan, directory, name, path);
    else makeNode(rooted, plan, directory, name, device);
  }
  hand.calls.wording = (error) =>
    `configuring container /dev: error setting up /dev symlinks: ${error.syscall} ${error.about}: ${errnoText(error.errno)}`;
  for (const [link, target] of LINKS) makeLink(hand, directory, inDirectory(link), target);
  // It isn't there in every kernel.
  hand.call("faccessat", [AT_FDCWD, hand.text("/proc/kcore"), 0], { skipOnError: 1 });
  makeLink(hand, directory, inDirectory("/dev/core"), "/proc/kcore");
  rooted.close(directory);
  hand.calls.wording = undefined;
}

/**
 * Queue: a directory of the container, made when it is missing. Links are followed inside the root, but
 * /dev itself must be none: an image would choose which directory gets devices (CVE-2026-41579).
 */
function openDirectory(rooted: Rooted, path: string): Slot {
  return rooted.open(path, {
    flags: O_PATH | O_DIRECTORY,
    resolve: path === "/dev" ? RESOLVE_NO_SYMLINKS : 0,
    recover: (error) => {
      if (error.code !== "ENOENT") throw error;
      rooted.make(path, "directory");
      return undefined;
    },
  });
}

function makeLink(hand: Hand, directory: Slot | number, name: string, target: string): void {
  hand.call("symlinkat", [hand.text(target), directory, hand.text(name)], {
    about: name,
    recover: (error) => {
      if (error.code !== "EEXIST") throw error;
      return 0;
    },
  });
}

function makeNode(
  rooted: Rooted,
  plan: RootfsPlan,
  directory: Slot | number,
  name: string,
  device: Device,
): void {
  const { hand } = rooted;
  const { path, type, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
  const format = TYPES[type] ?? S_IFCHR;
  const rdev = makedev(major, minor);
  hand.call("mknodat", [directory, hand.text(name), format | (fileMode & 0o7777), rdev], {
    recover: (error) => {
      if (error.code === "EPERM") {
        bindDevice(rooted, plan, directory, name, path);
        hand.run();
      }
      // There already: whoever brought a /dev of his own has it as he wants it.
      else if (error.code !== "EEXIST") throw error;
      return 0;
    },
  });
  if (uid === 0 && gid === 0) return;
  // Only what was made here: in a directory of the user's somebody else may have put another in its place.
  const node = hand.call("openat", [directory, hand.text(name), O_PATH | O_NOFOLLOW | O_CLOEXEC]);
  hand.run();
  const status = stat("", AT_EMPTY_PATH, hand.result(node));
  if ((status.mode & S_IFMT) !== format || (format !== S_IFIFO && status.rdev !== rdev)) {
    rooted.close(node);
    return;
  }
  hand.call("fchownat", [node, hand.text(""), uid, gid, AT_EMPTY_PATH]);
  rooted.close(node);
}

/** Queue: the host's node in the place of one that can't be made, as in a user namespace. */
function bindDevice(
  rooted: Rooted,
  plan: RootfsPlan,
  directory: Slot | number,
  name: string,
  path: string,
): void {
  const { hand } = rooted;
  const flags = O_CREAT | O_NOFOLLOW | O_CLOEXEC;
  const target = hand.call("openat", [directory, hand.text(name), flags, 0]);
  const made = plan.porter ? plan.porter.tree(path, false) : cloneTree(hand, path);
  attach(hand, made, target, path);
  rooted.close(made);
  rooted.close(target);
}

/** Queue: /dev/ptmx is the container's own, of its devpts. */
export function makePtmx(rooted: Rooted): void {
  const { hand } = rooted;
  hand.calls.wording = (error) =>
    `configuring container /dev: error setting up ptmx: ${error.syscall} /dev/ptmx: ${errnoText(error.errno)}`;
  const directory = openDirectory(rooted, "/dev");
  hand.call("unlinkat", [directory, hand.text("ptmx"), 0], { skipOnError: 0 });
  hand.call("symlinkat", [hand.text("pts/ptmx"), directory, hand.text("ptmx")]);
  rooted.close(directory);
  hand.calls.wording = undefined;
}
