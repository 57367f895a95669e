import type { Rooted } from "@longshore/mounts";
import type { Device, DeviceRule, Spec } from "@longshore/oci";
import { makedev, O_DIRECTORY, O_PATH, S_IFBLK, S_IFCHR, S_IFIFO } from "@longshore/syscalls";

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
export function makeDevices(rooted: Rooted, spec: Spec): void {
  const { hand } = rooted;
  const devices = new Map(DEFAULT_DEVICES.map((device) => [device.path, device]));
  for (const device of spec.linux?.devices ?? []) devices.set(device.path, device);
  let openPath = "";
  let directory = rooted.root;
  const inDirectory = (path: string): string => {
    const at = path.lastIndexOf("/");
    const parent = path.slice(0, at) || "/";
    if (parent !== openPath) {
      if (openPath !== "") rooted.close(directory);
      directory = rooted.openOrMake(parent, "directory");
      openPath = parent;
    }
    return path.slice(at + 1);
  };
  for (const { path, type, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } of devices.values()) {
    const name = hand.text(inDirectory(path));
    const mode = (TYPES[type] ?? S_IFCHR) | fileMode;
    // There already: whoever bound a /dev of his own has it as he wants it.
    hand.call("mknodat", [directory, name, mode, makedev(major, minor)], {
      about: path,
      recover: (error) => {
        if (error.code !== "EEXIST") throw error;
        return 1;
      },
    });
    hand.call("fchownat", [directory, name, uid, gid, 0x100], { about: path });
  }
  for (const [link, target] of LINKS) {
    hand.call("symlinkat", [hand.text(target), directory, hand.text(inDirectory(link))], {
      about: link,
      skipOnError: 0,
    });
  }
  rooted.close(directory);
}

/** Queue: /dev/ptmx is the container's own, of its devpts. */
export function makePtmx(rooted: Rooted): void {
  const { hand } = rooted;
  const directory = rooted.open("/dev", { flags: O_PATH | O_DIRECTORY });
  hand.call("unlinkat", [directory, hand.text("ptmx"), 0], { skipOnError: 0 });
  hand.call("symlinkat", [hand.text("pts/ptmx"), directory, hand.text("ptmx")], {
    about: "/dev/ptmx",
    skipOnError: 0,
  });
  rooted.close(directory);
}
