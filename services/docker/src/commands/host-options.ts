import fs from "node:fs";
import net from "node:net";
import { CliError } from "../cli-error.ts";
import { checkInteger, type Flag, type FlagValues } from "../flags.ts";
import { parseMemory } from "../format/units.ts";
import type { HostFlag } from "./host-flag.ts";
import { RESOURCE_FLAGS } from "./resource-options.ts";
import { parseRestartPolicy } from "./restart-policy.ts";

const text = (values: readonly string[]) => values.at(-1) ?? "";
const integer = (values: readonly string[]) => Number(text(values));
const bytes = (values: readonly string[]) => parseMemory(text(values));
const list = (values: readonly string[]) => [...values];

const HOST_FLAGS: readonly HostFlag[] = [
  ...RESOURCE_FLAGS,
  {
    name: "add-host",
    kind: "list",
    field: "ExtraHosts",
    convert: (v) => v.map(extraHost),
    check: checkExtraHost,
    help: "Add a custom host-to-IP mapping (host:ip)",
  },
  {
    name: "cgroupns",
    kind: "string",
    field: "CgroupnsMode",
    convert: text,
    help: "Cgroup namespace to use (host|private)",
  },
  {
    name: "cpu-period",
    kind: "string",
    value: "int",
    field: "CpuPeriod",
    convert: integer,
    check: checkInteger,
    help: "Limit CPU CFS (Completely Fair Scheduler) period",
  },
  {
    name: "cpu-quota",
    kind: "string",
    value: "int",
    field: "CpuQuota",
    convert: integer,
    check: checkInteger,
    help: "Limit CPU CFS (Completely Fair Scheduler) quota",
  },
  {
    name: "cpu-shares",
    short: "c",
    kind: "string",
    value: "int",
    field: "CpuShares",
    convert: integer,
    check: checkInteger,
    help: "CPU shares (relative weight)",
  },
  {
    name: "cpuset-cpus",
    kind: "string",
    field: "CpusetCpus",
    convert: text,
    help: "CPUs in which to allow execution (0-3, 0,1)",
  },
  {
    name: "cpuset-mems",
    kind: "string",
    field: "CpusetMems",
    convert: text,
    help: "MEMs in which to allow execution (0-3, 0,1)",
  },
  {
    name: "device",
    kind: "list",
    field: "Devices",
    convert: (v) => v.map(device),
    help: "Add a host device to the container",
  },
  {
    name: "device-cgroup-rule",
    kind: "list",
    field: "DeviceCgroupRules",
    convert: list,
    help: "Add a rule to the cgroup allowed devices list",
  },
  {
    name: "group-add",
    kind: "list",
    field: "GroupAdd",
    convert: list,
    help: "Add additional groups to join",
  },
  {
    name: "init",
    kind: "bool",
    field: "Init",
    convert: (v) => text(v) === "true",
    help: "Run an init inside the container that forwards signals and reaps processes",
  },
  { name: "ipc", kind: "string", field: "IpcMode", convert: text, help: "IPC mode to use" },
  {
    name: "memory-reservation",
    kind: "string",
    value: "bytes",
    field: "MemoryReservation",
    convert: bytes,
    check: (v) => void parseMemory(v),
    help: "Memory soft limit",
  },
  {
    name: "memory-swap",
    kind: "string",
    value: "bytes",
    field: "MemorySwap",
    convert: swap,
    check: (v) => void swap([v]),
    help: "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
  },
  {
    name: "oom-score-adj",
    kind: "string",
    value: "int",
    field: "OomScoreAdj",
    convert: integer,
    check: checkInteger,
    help: "Tune host's OOM preferences (-1000 to 1000)",
  },
  { name: "pid", kind: "string", field: "PidMode", convert: text, help: "PID namespace to use" },
  {
    name: "pids-limit",
    kind: "string",
    value: "int",
    field: "PidsLimit",
    convert: integer,
    check: checkInteger,
    help: "Tune container pids limit (set -1 for unlimited)",
  },
  {
    name: "restart",
    kind: "string",
    field: "RestartPolicy",
    convert: (v) => parseRestartPolicy(text(v)),
    check: (v) => void parseRestartPolicy(v),
    help: "Restart policy to apply when a container exits",
  },
  {
    name: "runtime",
    kind: "string",
    field: "Runtime",
    convert: text,
    help: "Runtime to use for this container",
  },
  {
    name: "security-opt",
    kind: "list",
    field: "SecurityOpt",
    convert: (v) => v.map(securityOption),
    help: "Security Options",
  },
  {
    name: "shm-size",
    kind: "string",
    value: "bytes",
    field: "ShmSize",
    convert: bytes,
    check: (v) => void parseMemory(v),
    help: "Size of /dev/shm",
  },
  {
    name: "sysctl",
    kind: "list",
    field: "Sysctls",
    convert: (v) => Object.fromEntries(v.map((s) => cut(s, "="))),
    help: "Sysctl options",
  },
  {
    name: "tmpfs",
    kind: "list",
    field: "Tmpfs",
    convert: (v) => Object.fromEntries(v.map((t) => cut(t, ":"))),
    help: "Mount a tmpfs directory",
  },
  {
    name: "ulimit",
    kind: "list",
    field: "Ulimits",
    convert: (v) => v.map(ulimit),
    check: (v) => void ulimit(v),
    help: "Ulimit options",
  },
  { name: "uts", kind: "string", field: "UTSMode", convert: text, help: "UTS namespace to use" },
];

/** Flags whose values go into the HostConfig as they stand. */
export const HOST_OPTION_FLAGS: readonly Flag[] = [
  ...HOST_FLAGS,
  { name: "log-driver", kind: "string", help: "Logging driver for the container" },
  { name: "log-opt", kind: "list", help: "Log driver options" },
];

/** What Docker's client sends when no flag says otherwise. */
const DEFAULTS = {
  PortBindings: {},
  RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  BlkioWeightDevice: [],
  BlkioDeviceReadBps: [],
  BlkioDeviceWriteBps: [],
  BlkioDeviceReadIOps: [],
  BlkioDeviceWriteIOps: [],
  Devices: [],
  Ulimits: [],
};

/** The fields of the HostConfig that flags set. @throws CliError for values that can't be read */
export function hostOptions(flags: FlagValues): Record<string, unknown> {
  const log = {
    Type: flags.string("log-driver"),
    Config: Object.fromEntries(flags.list("log-opt").map((option) => cut(option, "="))),
  };
  return { ...DEFAULTS, ...givenFields(flags), ...capabilities(flags), LogConfig: log };
}

/** Only the fields whose flags were given. */
export function givenFields(flags: FlagValues): Record<string, unknown> {
  const fields = HOST_FLAGS.flatMap(({ name, field, convert }) =>
    flags.has(name) ? [[field, convert(flags.list(name))] as const] : [],
  );
  return Object.fromEntries(fields);
}

/** Both lists in the kernel's spelling, sorted; what is added is not dropped. */
function capabilities(flags: FlagValues): { CapAdd: string[] | null; CapDrop: string[] | null } {
  const add = new Set(flags.list("cap-add").map(capability));
  const drop = new Set(flags.list("cap-drop").map(capability));
  const names = (set: Set<string>) => (set.has("ALL") ? ["ALL"] : [...set].sort());
  const nullIfEmpty = (list: string[]) => (list.length > 0 ? list : null);
  return {
    CapAdd: nullIfEmpty(names(add)),
    CapDrop: nullIfEmpty(names(drop.has("ALL") ? drop : drop.difference(add))),
  };
}

function capability(name: string): string {
  const upper = name.trim().toUpperCase();
  return upper === "ALL" || upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
}

function cut(value: string, separator: string): [string, string] {
  const at = value.indexOf(separator);
  return at < 0 ? [value, ""] : [value.slice(0, at), value.slice(at + 1)];
}

function swap(values: readonly string[]): number {
  const value = text(values);
  return value === "-1" ? -1 : parseMemory(value);
}

/** `host:ip` or `host=ip`, the address with or without brackets. */
function extraHost(value: string): string {
  const [host, address] = cut(value, value.includes("=") ? "=" : ":");
  return `${host}:${address.replace(/^\[(.*)\]$/, "$1")}`;
}

function checkExtraHost(value: string): void {
  const [host, address] = cut(value, value.includes("=") ? "=" : ":");
  if (host === "" || address === "") throw new Error(`bad format for add-host: ${JSON.stringify(value)}`);
  const bare = address.replace(/^\[(.*)\]$/, "$1");
  if (bare !== "host-gateway" && net.isIP(bare) === 0)
    throw new Error(`invalid IP address in add-host: ${JSON.stringify(bare)}`);
}

/** `/dev/x[:/dev/y][:rwm]` */
function device(value: string): { PathOnHost: string; PathInContainer: string; CgroupPermissions: string } {
  const [host = "", second, third] = value.split(":");
  const mode = (part: string | undefined) => part !== undefined && /^[rwm]+$/.test(part);
  const inContainer = second === undefined || mode(second) ? host : second;
  const permissions = third ?? (mode(second) ? second : undefined);
  return { PathOnHost: host, PathInContainer: inContainer, CgroupPermissions: permissions ?? "rwm" };
}

/** A seccomp profile travels as its content. */
function securityOption(option: string): string {
  const [key, value] = cut(option, option.includes("=") ? "=" : ":");
  if (key !== "seccomp" || value === "unconfined" || value === "builtin") return option;
  try {
    return `seccomp=${JSON.stringify(JSON.parse(fs.readFileSync(value, "utf8")))}`;
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const why = missing ? `open ${value}: no such file or directory` : String(error);
    throw new CliError(`opening seccomp profile (${value}) failed: ${why}`, 125);
  }
}

/** `nofile=1024:2048` */
function ulimit(value: string): { Name: string; Soft: number; Hard: number } {
  const [, name, soft, hard] = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(value) ?? [];
  if (name === undefined) throw new Error(`invalid ulimit argument: ${value}`);
  const [Soft, Hard] = [Number(soft), Number(hard ?? soft)];
  if (Hard !== -1 && (Soft > Hard || Soft === -1)) {
    throw new Error(`ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`);
  }
  return { Name: name, Soft, Hard };
}
