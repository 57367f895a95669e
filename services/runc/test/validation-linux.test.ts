/** config-linux.md of the runtime specification: namespaces, id mappings, devices, sysctl, seccomp and the newer fields. */
import { afterAll, expect } from "bun:test";
import fs from "node:fs";
import { type Case, runCases } from "./cases.ts";
import { it, type Patch, Playground, skipped, unified } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());

const FILES = {
  pid: "pid",
  network: "net",
  mount: "mnt",
  ipc: "ipc",
  uts: "uts",
  cgroup: "cgroup",
  user: "user",
  time: "time",
} as const;
type Type = keyof typeof FILES;
const USUAL = ["pid", "network", "ipc", "uts", "mount", "cgroup"] as const;

const namespaces = (...types: (Type | { type: Type; path: string })[]): Patch => ({
  linux: { namespaces: types.map((type) => (typeof type === "string" ? { type } : type)) },
});
const ownLink = (type: Type) => fs.readlinkSync(`/proc/self/ns/${FILES[type]}`);
const linkIn = (type: Type) => `readlink /proc/self/ns/${FILES[type]}`;

const rule = (names: string[], action: string, more: Patch = {}): Patch => ({ names, action, ...more });
const seccomp = (...syscalls: Patch[]): Patch => ({
  linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls } },
});
/** chmod(1) calls one of these; the mode is the argument with that number. */
const onMode = (op: string, value: number, valueTwo?: number) =>
  seccomp(
    ...[
      ["chmod", 1],
      ["fchmodat", 2],
    ].map(([name, index]) =>
      rule([String(name)], "SCMP_ACT_ERRNO", {
        errnoRet: 95,
        args: [{ index, value, ...(valueTwo === undefined ? {} : { valueTwo }), op }],
      }),
    ),
  );
const tryModes = (...modes: string[]) =>
  `touch /tmp/modes; for mode in ${modes.join(" ")}; do chmod $mode /tmp/modes 2>/dev/null && echo $mode; done; rm /tmp/modes`;

const COMPARISONS: [op: string, value: number, valueTwo: number | undefined, allowed: string][] = [
  ["SCMP_CMP_EQ", 0o640, undefined, "600\n644"],
  ["SCMP_CMP_NE", 0o640, undefined, "640"],
  ["SCMP_CMP_LT", 0o640, undefined, "640\n644"],
  ["SCMP_CMP_LE", 0o640, undefined, "644"],
  ["SCMP_CMP_GT", 0o640, undefined, "600\n640"],
  ["SCMP_CMP_GE", 0o640, undefined, "600"],
  ["SCMP_CMP_MASKED_EQ", 0o040, 0o040, "600"],
];

const DENY_ALL = { allow: false, access: "rwm" };
const device = (at: string, more: Patch) => ({ path: at, type: "c", major: 1, minor: 3, ...more });

const FUSE = device("/dev/fuse", { major: 10, minor: 229, fileMode: 0o666 });
const noFuse = () => (fs.existsSync("/dev/fuse") ? undefined : "the kernel has no FUSE");

/** Two ranges, as of a user who was given a second lot of ids. */
const RANGES = [
  { containerID: 0, hostID: 100_000, size: 1000 },
  { containerID: 1000, hostID: 300_000, size: 500 },
];
const userNamespace: Patch = {
  linux: {
    namespaces: [...USUAL, "user"].map((type) => ({ type })),
    uidMappings: RANGES,
    gidMappings: RANGES,
  },
};

const CASES: Case[] = [
  // namespaces
  ...USUAL.map(
    (type): Case => ({
      name: `linux.namespaces: a new ${type} namespace`,
      script: `[ "$(${linkIn(type)})" != "${ownLink(type)}" ] && echo new`,
      prints: "new",
    }),
  ),
  ...(["network", "ipc", "uts", "cgroup"] as const).map(
    (type): Case => ({
      name: `linux.namespaces without ${type} keep the caller's`,
      config: {
        ...namespaces(...USUAL.filter((other) => other !== type)),
        ...(type === "uts" ? { hostname: "" } : {}),
      },
      script: linkIn(type),
      prints: ownLink(type),
    }),
  ),
  {
    name: "linux.namespaces without pid: the process sees the host's, and nothing of it stays",
    config: namespaces(...USUAL.filter((type) => type !== "pid")),
    script: "sleep 1000 & [ $$ -gt 1 ] && [ $(ls -d /proc/[0-9]* | wc -l) -gt 6 ] && echo seen",
    prints: "seen",
  },
  {
    name: "linux.namespaces of one type twice are refused",
    config: namespaces(...USUAL, "uts"),
    refused: /duplicated ns|uts/,
  },
  {
    name: "linux.namespaces of an unknown type are refused",
    config: { linux: { namespaces: [{ type: "dream" }] } },
    refused: /dream|namespaces/,
  },
  {
    name: "linux.namespaces[].path that isn't there is refused",
    config: namespaces("pid", "mount", "uts", { type: "network", path: "/no/such/namespace" }),
    refused: /no\/such\/namespace/,
  },
  {
    name: "linux.namespaces[].path of another type is refused",
    config: namespaces("pid", "mount", "uts", { type: "network", path: "/proc/self/ns/ipc" }),
    refused: /net|namespace/,
  },
  {
    name: "linux.namespaces[].path must be absolute",
    config: namespaces("pid", "mount", "uts", { type: "network", path: "proc/self/ns/net" }),
    refused: /net|absolute/,
  },
  {
    name: "linux.namespaces: the root of a new cgroup namespace is the container's cgroup",
    script: "cut -d: -f3 /proc/self/cgroup | sort -u",
    prints: "/",
  },
  {
    name: "linux.namespaces: the loopback interface of a new network namespace is up",
    script:
      "ip -o address show dev lo; ping -c 1 -W 1 127.0.0.1 > /dev/null 2>&1; cat /sys/class/net/lo/flags",
    prints: /127\.0\.0\.1\/8[\s\S]*0x9\n$/,
  },

  // user and time namespaces
  {
    name: "linux.uidMappings and gidMappings map several ranges",
    config: userNamespace,
    script: "awk '{ print $1, $2, $3 }' /proc/self/uid_map /proc/self/gid_map; id -u; id -g",
    prints: "0 100000 1000\n1000 300000 500\n0 100000 1000\n1000 300000 500\n0\n0",
  },
  {
    name: "linux.uidMappings: root inside has no rights outside",
    config: userNamespace,
    script: "touch /etc/passwd 2>&1; hostname changed 2>&1; id -u",
    prints: /Permission denied/,
  },
  {
    name: "linux.uidMappings: another user of the second range",
    config: { ...userNamespace, process: { user: { uid: 1001, gid: 1002 } } },
    script: "id -u; id -g",
    prints: "1001\n1002",
  },
  {
    name: "linux.uidMappings: a user who isn't mapped is refused",
    config: { ...userNamespace, process: { user: { uid: 5000, gid: 0 } } },
    refused: /user|uid|invalid argument/,
  },
  {
    name: "linux.uidMappings without a user namespace are refused",
    config: { linux: { uidMappings: RANGES, gidMappings: RANGES } },
    refused: /[mM]apping/,
  },
  {
    name: "linux.timeOffsets move the clocks of a time namespace",
    config: {
      linux: {
        namespaces: [...USUAL, "time"].map((type) => ({ type })),
        timeOffsets: { boottime: { secs: 7_000_000 }, monotonic: { secs: 8_000_000, nanosecs: 5 } },
      },
    },
    script:
      "awk '$1 > 7000000 { print \"later\" }' /proc/uptime; awk '{ print $1, $2, $3 }' /proc/self/timens_offsets",
    prints: "later\nmonotonic 8000000 5\nboottime 7000000 0",
  },
  {
    name: "linux.timeOffsets without a time namespace are refused",
    config: { linux: { timeOffsets: { boottime: { secs: 1 } } } },
    refused: /time/,
  },

  // devices
  {
    name: "linux.devices are made with type, numbers, mode and owner",
    config: {
      linux: {
        devices: [
          device("/dev/char", { fileMode: 0o640, uid: 7, gid: 8 }),
          device("/dev/block", { type: "b", major: 7, minor: 200, fileMode: 0o600 }),
          device("/dev/unbuffered", { type: "u", major: 1, minor: 5, fileMode: 0o444 }),
          { path: "/dev/fifo", type: "p", fileMode: 0o622 },
          device("/dev/deep/er/device", { fileMode: 0o666 }),
        ],
      },
    },
    script:
      "for d in char block unbuffered fifo deep/er/device; do stat -c '%F %t %T %a %u %g' /dev/$d; done",
    prints: [
      "character special file 1 3 640 7 8",
      "block special file 7 c8 600 0 0",
      "character special file 1 5 444 0 0",
      "fifo 0 0 622 0 0",
      "character special file 1 3 666 0 0",
    ].join("\n"),
  },
  {
    name: "linux.devices of an unknown type are refused",
    config: { linux: { devices: [device("/dev/x", { type: "q" })] } },
    refused: /devices\[0\]|invalid device|type/,
  },
  {
    name: "linux.devices outside /dev are made as well",
    config: { linux: { devices: [device("/tmp/null", { fileMode: 0o666 })] } },
    script: "echo x > /tmp/null; stat -c %F /tmp/null; rm -f /tmp/null",
    prints: "character special file",
  },
  {
    name: "linux.resources.devices: what isn't allowed can't be opened, the default devices can",
    config: { linux: { devices: [FUSE], resources: { devices: [DENY_ALL] } } },
    script: "exec 2>&1; true < /dev/fuse; true < /dev/zero && echo zero",
    prints: /can't open \/dev\/fuse: Operation not permitted\nzero/,
    missing: noFuse,
  },
  {
    name: "linux.resources.devices: what is allowed can be opened, in the ways that are allowed",
    config: {
      linux: {
        devices: [FUSE],
        resources: { devices: [DENY_ALL, { allow: true, type: "c", major: 10, minor: 229, access: "r" }] },
      },
    },
    script: "exec 2>&1; true < /dev/fuse && echo read; true > /dev/fuse",
    code: 1,
    prints: /^read\n.*can't create \/dev\/fuse: Operation not permitted\n$/,
    missing: noFuse,
  },
  {
    name: "linux.resources.devices: a later rule wins over an earlier, and a missing number stands for all",
    config: {
      linux: {
        devices: [FUSE],
        resources: {
          devices: [
            DENY_ALL,
            { allow: true, type: "c", major: 10, access: "rw" },
            { allow: false, type: "c", major: 10, minor: 229, access: "w" },
          ],
        },
      },
    },
    ...(unified
      ? {
          script: "exec 2>&1; true < /dev/fuse && echo read; true > /dev/fuse",
          code: 1,
          prints: /^read\n.*can't create \/dev\/fuse: Operation not permitted\n$/,
        }
      : // Version 1 can't take a part out of what it allows; more than was asked for must not come of it.
        { refused: /devices|rule/ }),
    missing: noFuse,
  },
  {
    name: "linux.resources.devices: a node that the container makes itself gives no access",
    config: {
      process: {
        capabilities: Object.fromEntries(
          ["bounding", "effective", "permitted"].map((set) => [set, ["CAP_MKNOD"]]),
        ),
      },
    },
    script: "exec 2>&1; mknod /tmp/made c 10 229; true < /tmp/made; rm -f /tmp/made",
    prints: /Operation not permitted/,
  },

  // sysctl
  {
    name: "linux.sysctl sets what is the network namespace's, in both spellings",
    config: {
      linux: {
        sysctl: {
          "net.ipv4.ip_forward": "1",
          "net/core/somaxconn": "123",
          "net.ipv4.conf.lo.forwarding": "1",
        },
      },
    },
    script: "cd /proc/sys/net; cat ipv4/ip_forward core/somaxconn ipv4/conf/lo/forwarding",
    prints: "1\n123\n1",
  },
  {
    name: "linux.sysctl sets what is the IPC namespace's",
    config: { linux: { sysctl: { "kernel.msgmax": "7000", "fs.mqueue.msg_max": "17" } } },
    script: "cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max",
    prints: "7000\n17",
  },
  {
    name: "linux.sysctl of the whole machine is refused",
    // Its present value, should it be written nevertheless.
    config: {
      linux: { sysctl: { "vm.swappiness": fs.readFileSync("/proc/sys/vm/swappiness", "utf8").trim() } },
    },
    refused: /sysctl.*vm\.swappiness/,
  },
  {
    name: "linux.sysctl net.* without a network namespace is refused",
    config: {
      linux: {
        namespaces: USUAL.filter((type) => type !== "network").map((type) => ({ type })),
        sysctl: {
          "net.core.somaxconn": fs.readFileSync("/proc/sys/net/core/somaxconn", "utf8").trim(),
        },
      },
    },
    refused: /sysctl.*net\.core\.somaxconn/,
  },
  {
    name: "linux.sysctl that isn't there is refused",
    config: { linux: { sysctl: { "net.no.such.setting": "1" } } },
    refused: /net[./]no[./]such[./]setting/,
  },
  {
    name: "linux.sysctl can't leave /proc/sys",
    config: { linux: { sysctl: { "net/../../1/oom_score_adj": "1" } } },
    refused: /oom_score_adj/,
  },

  // seccomp
  {
    name: "linux.seccomp: SCMP_ACT_ERRNO with errnoRet",
    config: seccomp(rule(["chmod", "fchmodat"], "SCMP_ACT_ERRNO", { errnoRet: 95 })),
    script: "chmod 700 /tmp 2>&1",
    code: 1,
    prints: "chmod: /tmp: Operation not supported",
  },
  {
    name: "linux.seccomp: SCMP_ACT_ERRNO is EPERM without errnoRet",
    config: seccomp(rule(["chmod", "fchmodat"], "SCMP_ACT_ERRNO")),
    script: "chmod 700 /tmp 2>&1",
    code: 1,
    prints: "chmod: /tmp: Operation not permitted",
  },
  ...["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"].map(
    (action): Case => ({
      name: `linux.seccomp: ${action} ends the process with SIGSYS`,
      config: seccomp(rule(["chmod", "fchmodat"], action)),
      script: "exec 2>/dev/null; chmod 700 /tmp; echo $?",
      prints: "159",
    }),
  ),
  ...["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"].map(
    (action): Case => ({
      name: `linux.seccomp: ${action} lets through`,
      config: seccomp(rule(["chmod", "fchmodat"], action)),
      script: "chmod 777 /tmp; echo $?",
      prints: "0",
    }),
  ),
  {
    name: "linux.seccomp: SCMP_ACT_TRACE without a tracer is ENOSYS",
    config: seccomp(rule(["chmod", "fchmodat"], "SCMP_ACT_TRACE", { errnoRet: 5 })),
    script: "chmod 700 /tmp 2>&1",
    code: 1,
    prints: "chmod: /tmp: Function not implemented",
  },
  {
    name: "linux.seccomp: defaultErrnoRet is the answer to what no rule names",
    config: {
      linux: {
        seccomp: {
          defaultAction: "SCMP_ACT_ERRNO",
          defaultErrnoRet: 95,
          syscalls: [
            rule(
              // What the start of a program takes, and the original's own steps before it.
              "read write open openat close stat fstat newfstatat lstat statx mmap mprotect munmap brk execve exit exit_group arch_prctl set_tid_address set_robust_list rseq prlimit64 getrandom readlink readlinkat getuid getgid geteuid getegid getpid getppid fcntl prctl futex sigaltstack lseek rt_sigaction rt_sigprocmask rt_sigreturn statfs fstatfs getdents64 capget capset setuid setgid setgroups clone epoll_ctl epoll_pwait tgkill gettid nanosleep umask chdir getcwd dup dup3 faccessat faccessat2 openat2 close_range fchown fchdir ioctl madvise sched_yield sched_getaffinity".split(
                " ",
              ),
              "SCMP_ACT_ALLOW",
            ),
          ],
        },
      },
      process: { args: ["chmod", "700", "/tmp"] },
    },
    code: 1,
    prints: "",
    warns: /^chmod: \/tmp: Operation not supported\n$/,
  },
  ...COMPARISONS.map(
    ([op, value, valueTwo, allowed]): Case => ({
      name: `linux.seccomp: ${op}`,
      config: onMode(op, value, valueTwo),
      script: tryModes("600", "640", "644"),
      prints: allowed,
    }),
  ),
  {
    name: "linux.seccomp: names that the kernel doesn't know are passed over",
    config: seccomp(rule(["no_such_system_call", "chmod", "fchmodat"], "SCMP_ACT_ERRNO")),
    script: "chmod 700 /tmp 2>/dev/null || echo refused",
    prints: "refused",
  },
  ...(
    [
      ["action", { defaultAction: "SCMP_ACT_DREAM" }, /SCMP_ACT_DREAM/],
      [
        "action of a rule",
        { defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule(["chmod"], "SCMP_ACT_DREAM")] },
        /SCMP_ACT_DREAM/,
      ],
      [
        "operator",
        {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [
            rule(["chmod"], "SCMP_ACT_ERRNO", { args: [{ index: 0, value: 0, op: "SCMP_CMP_DREAM" }] }),
          ],
        },
        /SCMP_CMP_DREAM/,
      ],
      [
        "architecture",
        { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_DREAM"] },
        /SCMP_ARCH_DREAM/,
      ],
      [
        "flag",
        { defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_DREAM"] },
        /SECCOMP_FILTER_FLAG_DREAM/,
      ],
      [
        "argument number",
        {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [
            rule(["chmod"], "SCMP_ACT_ERRNO", { args: [{ index: 6, value: 0, op: "SCMP_CMP_EQ" }] }),
          ],
        },
        /index|arg/,
      ],
    ] as [string, Patch, RegExp][]
  ).map(
    ([what, profile, refused]): Case => ({
      name: `linux.seccomp: an unknown ${what} is refused`,
      config: {
        linux: {
          // A filter without a rule may be left out altogether.
          seccomp: { syscalls: [rule(["chmod"], "SCMP_ACT_ERRNO")], ...profile },
        },
      },
      refused,
    }),
  ),
  {
    name: "linux.seccomp: architectures and flags are taken",
    config: {
      linux: {
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
          flags: ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
          syscalls: [rule(["chmod", "fchmodat"], "SCMP_ACT_ERRNO")],
        },
      },
    },
    script: "sed -n 's/^Seccomp:\\t//p' /proc/self/status; chmod 700 /tmp 2>/dev/null || echo refused",
    prints: "2\nrefused",
  },
  {
    name: "linux.seccomp: every flag of the specification is taken",
    config: {
      linux: {
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          flags: ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].map(
            (name) => `SECCOMP_FILTER_FLAG_${name}`,
          ),
          syscalls: [rule(["chmod", "fchmodat"], "SCMP_ACT_ERRNO")],
        },
      },
    },
    script: "chmod 700 /tmp 2>/dev/null || echo refused",
    prints: "refused",
  },
  {
    name: "linux.seccomp is in force with privileges left to the process, too",
    config: {
      process: { noNewPrivileges: false },
      ...seccomp(rule(["chmod", "fchmodat"], "SCMP_ACT_ERRNO")),
    },
    script: "chmod 700 /tmp 2>/dev/null || echo refused",
    prints: "refused",
  },
  {
    name: "linux.seccomp is in force for a user that isn't root",
    config: {
      process: { noNewPrivileges: false, user: { uid: 1000, gid: 1000 } },
      ...seccomp(rule(["mkdir", "mkdirat"], "SCMP_ACT_ERRNO")),
    },
    script: "mkdir /tmp/seccomp-user 2>/dev/null || echo refused",
    prints: "refused",
  },

  // what needs more than this kernel has
  {
    name: "linux.intelRdt is refused without resctrl",
    config: { linux: { intelRdt: { closID: "x", l3CacheSchema: "L3:0=f" } } },
    refused: /intelRdt|RDT/i,
    missing: () => (fs.existsSync("/sys/fs/resctrl/schemata") ? "resctrl is mounted" : undefined),
  },
  {
    name: "linux.mountLabel is refused without SELinux",
    config: { linux: { mountLabel: "system_u:object_r:container_file_t:s0" } },
    refused: /mountLabel|selinux/i,
    missing: () => (fs.existsSync("/sys/fs/selinux/enforce") ? "the kernel has SELinux" : undefined),
  },
  {
    name: "linux.memoryPolicy is the process's",
    config: { linux: { memoryPolicy: { mode: "MPOL_BIND", nodes: "0" } } },
    script: "awk '{ print $2 }' /proc/self/numa_maps | sort -u",
    prints: "bind:0",
    missing: () => (fs.existsSync("/proc/self/numa_maps") ? undefined : "the kernel has no NUMA"),
  },
  {
    name: "linux.memoryPolicy with an unknown mode is refused",
    config: { linux: { memoryPolicy: { mode: "MPOL_DREAM", nodes: "0" } } },
    refused: /memoryPolicy|MPOL_DREAM/,
  },
];

runCases(() => playground, CASES);

it.each(["network", "ipc", "uts"] as const)(
  "linux.namespaces[].path joins the %s namespace of another",
  (type) => {
    using other = playground.start();
    const joined = { type, path: `/proc/${other.pid}/ns/${FILES[type]}` };
    const { code, stdout, stderr } = playground.script(linkIn(type), {
      ...namespaces(...USUAL.filter((one) => one !== type), joined),
      ...(type === "uts" ? { hostname: "" } : {}),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(other.script(linkIn(type)).stdout);
  },
);

it("linux.namespaces[].path joins the pid namespace of another, whose processes it sees and outlives not", () => {
  const other = playground.start();
  const path = `/proc/${other.pid}/ns/pid`;
  const id = playground.id("joined");
  using joined = playground.start(
    { process: { args: ["sleep", "2000"] }, ...namespaces(...USUAL.slice(1), { type: "pid", path }) },
    { id },
  );
  expect(joined.script("ps -o args").stdout).toMatch(/sleep 1000[\s\S]*sleep 2000/);
  other[Symbol.dispose]();
  expect(joined.state().status).toBe("stopped");
});

it("linux.netDevices moves an interface in, under its new name", () => {
  const name = `ls${process.pid % 100000}`;
  const made = Bun.spawnSync(["ip", "link", "add", name, "type", "dummy"]);
  if (!made.success) return skipped(`linux.netDevices: ${made.stderr.toString().trim()}`);
  try {
    const { code, stdout, stderr } = playground.script("ls /sys/class/net", {
      linux: { netDevices: { [name]: { name: "moved0" } } },
    });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "lo\nmoved0\n", stderr: "" });
  } finally {
    Bun.spawnSync(["ip", "link", "delete", name]);
  }
});
