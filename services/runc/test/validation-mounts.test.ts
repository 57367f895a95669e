/** config.md and config-linux.md of the runtime specification: mounts, default file systems and devices, propagation, masks. */
import { afterAll, beforeAll, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import type { Mount } from "@longshore/oci";
import { type Case, runCases } from "./cases.ts";
import { BASE_MOUNTS, it, missing, type Patch, Playground } from "./playground.ts";

const playground = new Playground();
const source = path.join(playground.dir, "source");
const sub = path.join(source, "sub");

beforeAll(() => {
  fs.mkdirSync(sub, { recursive: true });
  fs.writeFileSync(path.join(source, "file"), "of the host\n");
  fs.writeFileSync(path.join(source, "suid"), "x");
  if (missing) return;
  // Something mounted below the source, and shared, as a host's file systems are.
  mount("--bind", source, source);
  mount("--make-shared", source);
  mount("-t", "tmpfs", "sub", sub);
  fs.writeFileSync(path.join(sub, "inner"), "");
  baseline = playground.leftovers();
});
afterAll(() => {
  Bun.spawnSync(["umount", "--lazy", sub]);
  Bun.spawnSync(["umount", "--lazy", source]);
  playground[Symbol.dispose]();
});

/** What the tests themselves have mounted. */
let baseline: string[] = [];
const leftovers = playground.leftovers.bind(playground);
playground.leftovers = () => leftovers().filter((line) => !baseline.includes(line));

function mount(...args: string[]): void {
  const { success, stderr } = Bun.spawnSync(["mount", ...args]);
  if (!success) throw new Error(`mount ${args.join(" ")}: ${stderr}`);
}

/** The configuration with mounts after the usual ones. */
const withMounts = (...mounts: Mount[]): Patch => ({ mounts: [...BASE_MOUNTS, ...mounts] });
const bind = (...options: string[]): Mount => ({ destination: "/m", type: "bind", source, options });
const tmpfs = (...options: string[]): Mount => ({
  destination: "/m",
  type: "tmpfs",
  source: "tmpfs",
  options,
});

/** Print options, optional fields and super options of what is mounted at a place, of proc_pid_mountinfo(5). */
const info = (at: string) =>
  `awk -v at=${at} '$5 == at { s = $6; for (i = 7; $i != "-"; i++) s = s " " $i; print s " - " $(i+1) " " $(i+3) }' /proc/self/mountinfo`;
const propagationOf = (at: string) =>
  `awk -v at=${at} '$5 == at { s = ""; for (i = 7; $i != "-"; i++) s = s $i; sub(/:.*/, "", s); print s == "" ? "private" : s }' /proc/self/mountinfo`;

/** An option, and what it makes of a tmpfs in mountinfo. */
const OPTIONS: [option: string, seen: RegExp][] = [
  ["ro", /^ro,/],
  ["rw", /^rw,/],
  ["nosuid", /,nosuid/],
  ["nodev", /,nodev/],
  ["noexec", /,noexec/],
  ["noatime", /,noatime/],
  ["relatime", /,relatime/],
  ["strictatime", /^(?!.*(noatime|relatime))/],
  ["nodiratime", /,nodiratime/],
  ["nosymfollow", /,nosymfollow/],
  ["sync", / - tmpfs rw,sync/],
  ["dirsync", / - tmpfs rw,dirsync/],
  ["lazytime", / - tmpfs rw,lazytime/],
];

const OPTION_CASES = OPTIONS.flatMap(([option, seen]): Case[] => {
  const superblock = seen.source.startsWith(" -");
  return [
    {
      name: `mounts[].options: ${option} of a new file system`,
      config: withMounts(tmpfs(option)),
      script: info("/m"),
      prints: seen,
    },
    ...(superblock
      ? []
      : [
          {
            name: `mounts[].options: ${option} of a bind`,
            config: withMounts(bind("bind", option)),
            script: info("/m"),
            prints: seen,
          },
        ]),
  ];
});

/** `stat` of a default device: type and numbers, mode. */
const DEVICES: [device: string, numbers: string][] = [
  ["null", "1 3"],
  ["zero", "1 5"],
  ["full", "1 7"],
  ["random", "1 8"],
  ["urandom", "1 9"],
  ["tty", "5 0"],
];

const CASES: Case[] = [
  // mounts
  {
    name: "mounts are made in the order in which they are listed",
    config: withMounts(tmpfs(), { destination: "/m/below", type: "bind", source, options: ["bind"] }),
    script: "cat /m/below/file; ls /m",
    prints: "of the host\nbelow",
  },
  {
    name: "mounts[].destination hides what was mounted there before",
    config: withMounts(bind("bind"), tmpfs()),
    script: "ls /m | wc -l",
    prints: "0",
  },
  {
    name: "mounts[].source may be relative to the bundle",
    config: (at) => {
      fs.writeFileSync(path.join(at.bundle, "beside"), "the bundle");
      return withMounts({ destination: "/beside", type: "bind", source: "beside", options: ["bind"] });
    },
    script: "cat /beside",
    prints: "the bundle",
  },
  {
    name: "mounts[].source may be a file, whose destination is made",
    config: withMounts({
      destination: "/new/file",
      type: "bind",
      source: "/etc/hostname",
      options: ["bind", "ro"],
    }),
    script: "[ -f /new/file ] && echo file; true 2>/dev/null > /new/file || echo read-only",
    prints: "file\nread-only",
  },
  {
    name: "mounts[].options: bind takes the mount alone",
    config: withMounts(bind("bind")),
    script: "ls /m/sub | wc -l",
    prints: "0",
  },
  {
    name: "mounts[].options: rbind takes what is mounted below",
    config: withMounts(bind("rbind")),
    script: "ls /m/sub",
    prints: "inner",
  },
  {
    name: "mounts[].options: bind makes a bind of any type",
    config: withMounts({ ...bind("rbind"), type: "none" }),
    script: "cat /m/file",
    prints: "of the host",
  },
  {
    name: "mounts[].options: ro of an rbind is for the upper mount only",
    config: withMounts(bind("rbind", "ro")),
    script: "touch /m/x 2>/dev/null || echo no; touch /m/sub/x && rm /m/sub/x && echo yes",
    prints: "no\nyes",
  },
  {
    name: "mounts[].options: rro is for every mount below",
    config: withMounts(bind("rbind", "rro")),
    script: "touch /m/x 2>/dev/null || echo no; touch /m/sub/x 2>/dev/null || echo no",
    prints: "no\nno",
  },
  ...["rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"].map(
    (option): Case => ({
      name: `mounts[].options: ${option} is for every mount below`,
      config: withMounts(bind("rbind", option)),
      script: `${info("/m")}; ${info("/m/sub")}`,
      prints: new RegExp(`^.*,${option.slice(1)}.*\\n.*,${option.slice(1)}.*\\n$`),
    }),
  ),
  {
    name: "mounts[].options: the later of two that contradict each other holds",
    config: withMounts(tmpfs("ro", "rw", "exec", "noexec")),
    script: info("/m"),
    prints: /^rw,.*noexec/,
  },
  ...OPTION_CASES,
  {
    name: "mounts[].options: noexec and nosuid are more than words",
    config: withMounts(tmpfs("noexec")),
    script: "cp /bin/busybox /m/true; /m/true 2>&1",
    code: 126,
    prints: /Permission denied/,
  },
  {
    name: "mounts[].options: size and mode of a tmpfs",
    config: withMounts({ ...tmpfs("size=64k", "mode=1711"), destination: "/sized" }),
    script:
      "stat -c %a /sized; df -k /sized | awk 'END { print $2 }'; dd if=/dev/zero of=/sized/x bs=80k 2>&1",
    code: 1,
    prints: /^1711\n64\n[\s\S]*No space left/,
  },
  {
    name: "mounts[].options: tmpcopyup starts a tmpfs with what was there",
    config: withMounts({ destination: "/etc", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] }),
    script: "grep -c root /etc/passwd; touch /etc/x && echo mine; stat -f -c %T /etc",
    prints: "1\nmine\ntmpfs",
  },
  {
    name: "mounts[].options that the file system doesn't know are refused",
    config: withMounts(tmpfs("no_such_option=1")),
    refused: /no_such_option|invalid argument/,
  },
  {
    name: "mounts[].type that the kernel doesn't know is refused",
    config: withMounts({ destination: "/m", type: "no-such-fs", source: "x" }),
    refused: /no-such-fs|no such device/,
  },
  {
    name: "mounts[].source that isn't there is refused",
    config: withMounts({ ...bind("bind"), source: "/no/such/source" }),
    refused: /no\/such\/source|no such file/,
  },
  {
    name: "mounts[].type mqueue",
    script: "stat -f -c %t /dev/mqueue; ls /dev/mqueue | wc -l",
    prints: "19800202\n0",
  },
  {
    name: "mounts[].type proc is of the container's own processes",
    script: "ls /proc | grep -E '^[0-9]+$' | head -1; stat -f -c %T /proc",
    prints: "1\nproc",
  },
  { name: "mounts[].type sysfs", script: "stat -f -c %T /sys; ls /sys/class/net", prints: "sysfs\nlo" },
  {
    name: "mounts[].type devpts is the container's own",
    script: `ls /dev/pts; stat -c %a /dev/ptmx /dev/pts/ptmx; readlink /dev/ptmx; ${info("/dev/pts")}`,
    prints: /^ptmx\n777\n666\npts\/ptmx\n.*devpts.*mode=620,ptmxmode=666/,
  },
  ...["private", "slave", "shared", "unbindable"].flatMap((word): Case[] => {
    const seen = { private: "private", slave: "master", shared: "shared", unbindable: "unbindable" }[word];
    return [
      {
        name: `mounts[].options: ${word}`,
        config: withMounts(bind("rbind", word)),
        script: propagationOf("/m"),
        prints: seen ?? "",
      },
      {
        name: `mounts[].options: r${word}`,
        config: withMounts(bind("rbind", `r${word}`)),
        script: `${propagationOf("/m")}; ${propagationOf("/m/sub")}`,
        prints: `${seen}\n${seen}`,
      },
    ];
  }),
  {
    name: "mounts[].options: idmap shifts owners (mounts[].uidMappings)",
    config: withMounts({
      ...bind("bind", "idmap"),
      uidMappings: [{ containerID: 0, hostID: 5000, size: 1000 }],
      gidMappings: [{ containerID: 0, hostID: 6000, size: 1000 }],
    } as Mount),
    script: "stat -c '%u %g' /m/file",
    prints: "5000 6000",
  },

  // rootfsPropagation
  ...[
    ["private", "private"],
    ["rprivate", "private"],
    ["slave", "master"],
    ["rslave", "master"],
    ["shared", "shared"],
    ["rshared", "shared"],
    ["unbindable", "unbindable"],
    ["runbindable", "unbindable"],
  ].map(
    ([word, seen = ""]): Case => ({
      name: `linux.rootfsPropagation ${word}`,
      config: { linux: { rootfsPropagation: word } },
      script: propagationOf("/"),
      // A root whose parent is not shared has no master: then slave and private are the same.
      prints: seen === "master" ? /^(master|private)\n/ : new RegExp(`^${seen}\n`),
    }),
  ),
  {
    name: "linux.rootfsPropagation of another word is refused",
    config: { linux: { rootfsPropagation: "public" } },
    refused: /rootfsPropagation|public/,
  },

  // default devices and links
  ...DEVICES.map(
    ([device, numbers]): Case => ({
      name: `/dev/${device} is there`,
      script: `stat -c '%F %t %T %a %u %g' /dev/${device}`,
      prints: `character special file ${numbers} 666 0 0`,
    }),
  ),
  {
    name: "/dev/fd, stdin, stdout and stderr are links into /proc",
    script: "for name in fd stdin stdout stderr; do readlink /dev/$name; done",
    prints: "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2",
  },
  {
    name: "the default devices work",
    script:
      "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x 2>&1 > /dev/full; ls /dev/console 2>/dev/null",
    code: 1,
    prints: /^3\n3\n.*No space left on device\n$/,
  },
  {
    name: "/dev that is bound from the host is left as it is",
    config: (at) => {
      const dev = path.join(at.dir, "dev");
      fs.mkdirSync(path.join(dev, "pts"), { recursive: true });
      for (const name of ["null", "shm", "mqueue"]) fs.mkdirSync(path.join(dev, name), { recursive: true });
      const mounts = BASE_MOUNTS.map((one) =>
        one.destination === "/dev"
          ? { destination: "/dev", type: "bind", source: dev, options: ["bind"] }
          : one,
      );
      return { mounts, linux: { maskedPaths: [], readonlyPaths: [] } };
    },
    script: "ls /dev",
    prints: "mqueue\nnull\npts\nshm",
  },

  // masked and read-only paths
  {
    name: "linux.maskedPaths: a file has nothing in it",
    config: (at) => {
      fs.mkdirSync(path.join(at.rootfs, "masks/dir"), { recursive: true });
      fs.writeFileSync(path.join(at.rootfs, "masks/file"), "secret");
      fs.writeFileSync(path.join(at.rootfs, "masks/dir/file"), "secret");
      return { linux: { maskedPaths: ["/masks/file", "/masks/dir", "/masks/absent"] } };
    },
    script:
      "wc -c < /masks/file; ls /masks/dir | wc -l; touch /masks/dir/x 2>/dev/null || echo read-only; ls -d /masks/absent 2>/dev/null || echo absent",
    prints: "0\n0\nread-only\nabsent",
  },
  {
    name: "linux.maskedPaths hide what the kernel shows of the host",
    config: { linux: { maskedPaths: ["/proc/timer_list", "/proc/acpi", "/sys/firmware", "/proc/keys"] } },
    script: "cat /proc/timer_list /proc/keys | wc -c; ls /sys/firmware | wc -l",
    prints: "0\n0",
  },
  {
    name: "linux.readonlyPaths can't be written, the rest can",
    config: (at) => {
      fs.mkdirSync(path.join(at.rootfs, "locked"), { recursive: true });
      fs.writeFileSync(path.join(at.rootfs, "locked/file"), "x");
      return { linux: { readonlyPaths: ["/locked", "/proc/sys", "/not/there"] } };
    },
    script:
      "touch /locked/x 2>&1; true 2>/dev/null > /locked/file || echo no; echo x 2>/dev/null > /proc/sys/kernel/hostname || echo no; touch /tmp/x && rm /tmp/x && echo yes",
    prints: "touch: /locked/x: Read-only file system\nno\nno\nyes",
  },
];

runCases(() => playground, CASES);

it("a mount that appears on the host later is seen behind rslave, and not behind rprivate; none goes out", () => {
  using container = playground.start(
    withMounts(bind("rbind", "rslave"), { ...bind("rbind", "rprivate"), destination: "/p" }),
  );
  const late = path.join(source, "late");
  fs.mkdirSync(late);
  try {
    mount("-t", "tmpfs", "late", late);
    fs.writeFileSync(path.join(late, "seen"), "");
    expect(container.script("ls /m/late; ls /p/late").stdout).toBe("seen\n");
  } finally {
    Bun.spawnSync(["umount", "--lazy", late]);
  }
  fs.rmdirSync(late);
});
