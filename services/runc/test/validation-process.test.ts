/** config.md of the runtime specification: root, hostname, domainname and process. */
import { afterAll } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import { type Case, runCases } from "./cases.ts";
import { Playground } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());

const status = (field: string) => `sed -n 's/^${field}:\\t//p' /proc/self/status`;
const CAP_FIELDS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(status).join(";");
const hex = (...numbers: number[]) =>
  numbers
    .reduce((sum, number) => sum | (1n << BigInt(number)), 0n)
    .toString(16)
    .padStart(16, "0");
const [NONE, CHOWN, KILL, NET_RAW] = [hex(), hex(0), hex(5), hex(13)];

/** The types of limits, and their names in /proc/PID/limits. */
const LIMITS: readonly (readonly [type: string, line: string])[] = [
  ["RLIMIT_CPU", "Max cpu time"],
  ["RLIMIT_FSIZE", "Max file size"],
  ["RLIMIT_DATA", "Max data size"],
  ["RLIMIT_STACK", "Max stack size"],
  ["RLIMIT_CORE", "Max core file size"],
  ["RLIMIT_RSS", "Max resident set"],
  ["RLIMIT_NPROC", "Max processes"],
  ["RLIMIT_NOFILE", "Max open files"],
  ["RLIMIT_MEMLOCK", "Max locked memory"],
  ["RLIMIT_AS", "Max address space"],
  ["RLIMIT_LOCKS", "Max file locks"],
  ["RLIMIT_SIGPENDING", "Max pending signals"],
  ["RLIMIT_MSGQUEUE", "Max msgqueue size"],
  ["RLIMIT_NICE", "Max nice priority"],
  ["RLIMIT_RTPRIO", "Max realtime priority"],
  ["RLIMIT_RTTIME", "Max realtime timeout"],
];
/** Our own limits: no more may be given by whoever lacks CAP_SYS_RESOURCE. */
const OWN_LIMITS = fs.readFileSync("/proc/self/limits", "utf8").split("\n");

/** A soft and a hard limit of a type that differ from ours, and that a program can start with. */
function limitsToSet(line: string): { soft: number; hard: number } {
  const own = OWN_LIMITS.find((text) => text.startsWith(line))
    ?.slice(line.length)
    .trim()
    .split(/\s+/)[1];
  const hard = own === "unlimited" ? 600_000_001 : Math.max(0, Number(own) - 1);
  return { soft: Math.max(0, hard - 1), hard };
}

/** Whether we may lower a process's oom_score_adj, or raise a hard limit. */
function hasResourceCapability(): boolean {
  const bits = /^CapEff:\t(\w+)$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${bits}`) & (1n << 24n)) !== 0n;
}

const ownScore = () => fs.readFileSync("/proc/self/oom_score_adj", "utf8").trim();

const CASES: Case[] = [
  // root
  {
    name: "root.readonly makes the root file system read-only",
    config: { root: { readonly: true } },
    script: "touch /x 2>&1; touch /dev/x && echo dev",
    prints: "touch: /x: Read-only file system\ndev",
  },
  {
    name: "root is writable without readonly",
    script: "touch /tmp/written && rm /tmp/written && echo yes",
    prints: "yes",
  },
  {
    name: "root.path may be absolute",
    config: (at) => ({ root: { path: at.rootfs }, process: { args: ["cat", "/etc/passwd"] } }),
    prints: /^root:/,
  },
  { name: "root.path must be there", config: { root: { path: "nowhere" } }, refused: /nowhere/ },
  {
    name: "root.path must be a directory",
    config: { root: { path: "config.json" } },
    refused: /config\.json|not a directory/,
  },
  { name: "root is required", config: { root: undefined }, refused: /[rR]oot/ },

  // hostname and domainname
  {
    name: "hostname is the name in the container's UTS namespace",
    config: { hostname: "some-host" },
    script: "hostname; cat /proc/sys/kernel/hostname",
    prints: "some-host\nsome-host",
  },
  {
    name: "domainname is the domain in the container's UTS namespace",
    config: { domainname: "some.domain" },
    script: "cat /proc/sys/kernel/domainname",
    prints: "some.domain",
  },
  {
    name: "hostname is refused where it would be the host's",
    // The host's own name, should it be set nevertheless.
    config: { hostname: os.hostname(), linux: { namespaces: [{ type: "pid" }, { type: "mount" }] } },
    refused: /hostname/,
  },
  {
    name: "domainname is refused where it would be the host's",
    config: {
      hostname: "",
      domainname: fs.readFileSync("/proc/sys/kernel/domainname", "utf8").trim(),
      linux: { namespaces: [{ type: "pid" }, { type: "mount" }] },
    },
    refused: /domainname/,
  },

  // process
  {
    name: "process.args are passed as they are",
    config: { process: { args: ["sh", "-c", 'printf "%s|" "$@"', "x", "a b", "", "ü\n", "$HOME", "*"] } },
    prints: "a b||ü\n|$HOME|*|",
  },
  {
    name: "process.args is required",
    config: { process: { args: [] } },
    refused: /args must not be empty|args is empty/,
  },
  { name: "process is required", config: { process: undefined }, refused: /process/ },
  {
    name: "process.args[0] is looked for in the PATH of process.env",
    config: { process: { args: ["sh", "-c", "echo found"], env: ["PATH=/nowhere:/bin"] } },
    prints: "found",
  },
  {
    name: "process.args[0] that isn't there is named",
    config: { process: { args: ["no-such-program"] } },
    refused: /exec: \\?"no-such-program\\?": executable file not found in \$PATH/,
  },
  {
    name: "process.args[0] that can't be executed is named",
    config: { process: { args: ["/etc/passwd"] } },
    refused: /exec: \\?"\/etc\/passwd\\?": permission denied/,
  },
  {
    name: "process.args[0] with a slash is not looked for in PATH",
    config: { process: { args: ["./sh", "-c", "pwd"], cwd: "/bin" } },
    prints: "/bin",
  },
  {
    name: "process.cwd is the working directory",
    config: { process: { cwd: "/home/user" } },
    script: "pwd; readlink /proc/self/cwd",
    prints: "/home/user\n/home/user",
  },
  {
    name: "process.cwd must be absolute",
    config: { process: { cwd: "home/user" } },
    refused: /[cC]wd must be an absolute path/,
  },
  { name: "process.cwd is required", config: { process: { cwd: "" } }, refused: /[cC]wd/ },
  {
    name: "process.cwd that is a file is refused",
    config: { process: { cwd: "/etc/passwd" } },
    refused: /\/etc\/passwd|not a directory/,
  },
  {
    name: "process.env is the whole environment but for HOME",
    config: { process: { args: ["env"], env: ["PATH=/bin", "A=1", "B=x=y", "C=", "Ü=ß"] } },
    prints: "PATH=/bin\nA=1\nB=x=y\nC=\nÜ=ß\nHOME=/root",
  },
  {
    name: "process.env with HOME is left alone",
    config: { process: { args: ["sh", "-c", "echo $HOME"], env: ["PATH=/bin", "HOME=/elsewhere"] } },
    prints: "/elsewhere",
  },
  {
    name: "process.user is who runs it, with additionalGids and nothing else of the caller's",
    config: { process: { user: { uid: 1000, gid: 1001, additionalGids: [5, 6, 77] } } },
    script: ["Uid", "Gid", "Groups"].map(status).join(";"),
    prints: /^1000\t1000\t1000\t1000\n1001\t1001\t1001\t1001\n5 6 77 ?\n$/,
  },
  {
    name: "process.user without additionalGids has no supplementary groups (CVE-2023-25173)",
    script: status("Groups"),
    prints: "",
  },
  {
    name: "process.user beyond 31 bits is refused (CVE-2024-40635)",
    config: { process: { user: { uid: 2 ** 31 } } },
    refused: /process\.user\.uid/,
  },
  {
    name: "process.user.umask is the file mode creation mask",
    config: { process: { user: { umask: 0o27 } } },
    script: "umask; touch /tmp/masked; stat -c %a /tmp/masked; rm /tmp/masked",
    prints: "0027\n640",
  },
  { name: "process.user.umask is 0022 when left out", script: "umask", prints: "0022" },

  // capabilities
  {
    name: "process.capabilities are the five sets, for root",
    config: {
      process: {
        noNewPrivileges: false,
        capabilities: {
          bounding: ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
          permitted: ["CAP_CHOWN", "CAP_KILL"],
          effective: ["CAP_KILL"],
          inheritable: ["CAP_CHOWN"],
          ambient: ["CAP_CHOWN"],
        },
      },
    },
    // execve gives root the bounding set.
    script: CAP_FIELDS,
    prints: [CHOWN, hex(0, 5, 13), hex(0, 5, 13), hex(0, 5, 13), CHOWN].join("\n"),
  },
  {
    name: "process.capabilities.ambient survive the program's start for a user that isn't root",
    config: {
      process: {
        user: { uid: 1000, gid: 1000 },
        capabilities: Object.fromEntries(
          ["bounding", "permitted", "effective", "inheritable", "ambient"].map((set) => [
            set,
            ["CAP_NET_RAW", ...(set === "bounding" ? ["CAP_KILL"] : [])],
          ]),
        ),
      },
    },
    script: CAP_FIELDS,
    prints: [NET_RAW, NET_RAW, NET_RAW, hex(13, 5), NET_RAW].join("\n"),
  },
  {
    name: "process.capabilities that aren't ambient end with the program's start for a user that isn't root",
    config: { process: { user: { uid: 1000, gid: 1000 } } },
    script: CAP_FIELDS,
    prints: [NONE, NONE, NONE, hex(5, 10, 29), NONE].join("\n"),
  },
  {
    name: "process.capabilities left out are none",
    config: { process: { capabilities: undefined } },
    script: CAP_FIELDS,
    prints: [NONE, NONE, NONE, NONE, NONE].join("\n"),
  },
  {
    name: "process.capabilities don't reach root's inheritable set by themselves (CVE-2022-24769)",
    config: { process: { capabilities: { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: [] } } },
    script: `${status("CapInh")};${status("CapBnd")}`,
    prints: `${NONE}\n${KILL}`,
  },
  {
    name: "process.capabilities that the kernel doesn't know are warned of",
    config: { process: { capabilities: { bounding: ["CAP_KILL", "CAP_UNHEARD_OF"] } } },
    script: status("CapBnd"),
    prints: KILL,
    warns: /level=warning.*CAP_UNHEARD_OF/,
  },

  // rlimits
  ...LIMITS.map(([type, line]): Case => {
    const { soft, hard } = limitsToSet(line);
    return {
      name: `process.rlimits set ${type}`,
      config: { process: { rlimits: [{ type, soft, hard }] } },
      script: `sed -n 's/^${line} *//p' /proc/self/limits`,
      prints: new RegExp(`^${soft} +${hard}\\s`),
    };
  }),
  {
    name: "process.rlimits may be infinite",
    config: { process: { rlimits: [{ type: "RLIMIT_CORE", soft: 2 ** 64 - 1, hard: 2 ** 64 - 1 }] } },
    script: "sed -n 's/^Max core file size *//p' /proc/self/limits",
    prints: /^unlimited +unlimited +bytes/,
  },
  {
    name: "process.rlimits of an unknown type are refused",
    config: { process: { rlimits: [{ type: "RLIMIT_UNKNOWN", soft: 1, hard: 1 }] } },
    refused: /RLIMIT_UNKNOWN/,
  },
  {
    name: "process.rlimits of one type twice are refused",
    config: {
      process: { rlimits: [1, 2].map((limit) => ({ type: "RLIMIT_CORE", soft: limit, hard: limit })) },
    },
    refused: /RLIMIT_CORE/,
  },
  {
    name: "process.rlimits with soft above hard are refused, and nothing is left",
    config: { process: { rlimits: [{ type: "RLIMIT_CORE", soft: 2, hard: 1 }] } },
    refused: /rlimit/i,
  },
  {
    name: "process.rlimits beyond the kernel's maximum are refused, and nothing is left",
    config: { process: { rlimits: [{ type: "RLIMIT_NOFILE", soft: 2 ** 40, hard: 2 ** 40 }] } },
    refused: /rlimit/i,
  },

  // the rest of process
  {
    name: "process.noNewPrivileges sets the kernel's flag",
    config: { process: { noNewPrivileges: true } },
    script: status("NoNewPrivs"),
    prints: "1",
  },
  {
    name: "process.noNewPrivileges false leaves it",
    config: { process: { noNewPrivileges: false } },
    script: status("NoNewPrivs"),
    prints: "0",
  },
  ...[-999, 0, 321].map(
    (score): Case => ({
      missing: () => (score < 0 && !hasResourceCapability() ? "CAP_SYS_RESOURCE is missing" : undefined),
      name: `process.oomScoreAdj ${score} is the process's own and its children's`,
      config: { process: { oomScoreAdj: score } },
      script: "cat /proc/self/oom_score_adj; (cat /proc/self/oom_score_adj)",
      prints: `${score}\n${score}`,
    }),
  ),
  {
    name: "process.oomScoreAdj left out leaves the caller's",
    script: `[ "$(cat /proc/self/oom_score_adj)" = ${ownScore()} ] && echo same`,
    prints: "same",
  },
  {
    name: "process.oomScoreAdj beyond the kernel's range is refused",
    config: { process: { oomScoreAdj: 1001 } },
    refused: /oomScoreAdj|oom_score_adj/,
  },
  {
    name: "process.consoleSize is ignored without a terminal",
    config: { process: { consoleSize: { height: 10, width: 20 } } },
    script: "tty",
    code: 1,
    prints: "not a tty",
  },
  {
    name: "process.scheduler sets policy and nice",
    config: { process: { scheduler: { policy: "SCHED_BATCH", nice: 5 } } },
    // Of the fields of proc_pid_stat(5), nice and policy.
    script: "cut -d ' ' -f 19,41 /proc/self/stat",
    prints: "5 3",
  },
  {
    name: "process.scheduler with an unknown policy is refused",
    config: { process: { scheduler: { policy: "SCHED_UNKNOWN" } } },
    refused: /scheduler|SCHED_UNKNOWN/,
  },
  {
    name: "process.scheduler with a nice value beyond the kernel's range is refused",
    config: { process: { scheduler: { policy: "SCHED_OTHER", nice: 99 } } },
    refused: /nice/,
  },
  {
    name: "process.ioPriority sets class and level",
    config: { process: { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 6 } } },
    script: "ionice",
    prints: "best-effort: prio 6",
  },
  {
    name: "process.ioPriority with an unknown class is refused",
    config: { process: { ioPriority: { class: "IOPRIO_CLASS_UNKNOWN", priority: 1 } } },
    refused: /ioPriority|IOPRIO_CLASS_UNKNOWN/,
  },
  {
    name: "process.apparmorProfile is refused where the kernel has no AppArmor",
    config: { process: { apparmorProfile: "some-profile" } },
    refused: /apparmor/i,
    missing: () =>
      fs.existsSync("/sys/kernel/security/apparmor/profiles") ? "the kernel has AppArmor" : undefined,
  },
  {
    name: "process.selinuxLabel is refused where the kernel has no SELinux",
    config: { process: { selinuxLabel: "system_u:system_r:container_t:s0" } },
    refused: /selinux/i,
    missing: () => (fs.existsSync("/sys/fs/selinux/enforce") ? "the kernel has SELinux" : undefined),
  },
  {
    name: "linux.personality LINUX32 is seen by uname",
    config: { linux: { personality: { domain: "LINUX32" } } },
    script: "uname -m",
    prints: "i686",
  },
  {
    name: "linux.personality with an unknown domain is refused",
    config: { linux: { personality: { domain: "LINUX16" } } },
    refused: /personality|LINUX16/,
  },
  {
    name: "signals that the caller ignores or blocks are as a new program expects them",
    // Without a shell, which has an opinion of its own.
    config: { process: { args: ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"] } },
    prints: `SigBlk:\t${NONE}\nSigIgn:\t${NONE}`,
  },
];

runCases(() => playground, CASES);
