import { readDirectory, readTextIfExists } from "@longshore/syscalls";
import type { Group } from "./group.ts";

// The shape is that of `runc events --stats`: who reads it knows the original's names, also where they are odd.

const UNLIMITED = 18446744073709551615n;

/** A number of a control file; v2's "max" and what v1 prints as no limit become the number that the original prints. */
export type Count = number | bigint;

export interface MemoryEntry {
  limit: Count;
  usage?: Count;
  max?: Count;
  failcnt: Count;
}

export interface BlkioEntry {
  major?: number;
  minor?: number;
  op?: string;
  value?: Count;
}

export interface Pressure {
  some: PressureLine;
  full: PressureLine;
}

export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  total: number;
}

type Read = (controller: string, file: string) => string | undefined;

/** `name value` lines. */
export function parseFlat(text: string | undefined): Record<string, Count> {
  const flat: Record<string, Count> = {};
  for (const line of (text ?? "").split("\n")) {
    const [key = "", value, more] = line.split(" ");
    if (value !== undefined && more === undefined) flat[key] = count(value);
  }
  return flat;
}

function count(text: string | undefined): Count {
  const trimmed = text?.trim() ?? "";
  if (trimmed === "max") return UNLIMITED;
  const value = Number(trimmed);
  return Number.isSafeInteger(value) ? value : BigInt(trimmed);
}

/** Zeros are left out where the original leaves them out. */
function given(value: Count | undefined): value is Count {
  return value !== undefined && value !== 0 && value !== 0n;
}

function some<T extends Record<string, unknown>>(fields: T): Partial<T> {
  const kept = Object.entries(fields).filter(
    ([, value]) => value !== undefined && value !== 0 && value !== 0n,
  );
  return Object.fromEntries(kept) as Partial<T>;
}

/** Use of resources in the shape of runc's `events --stats`; nanoseconds and bytes. */
export function containerStats(group: Group) {
  const read: Read = (controller, file) => {
    const path = group.pathOf(controller);
    return path === undefined ? undefined : readTextIfExists(`${path}/${file}`);
  };
  const limit = read("pids", "pids.max");
  return {
    cpu: group.unified ? cpuV2(read) : cpuV1(read),
    cpuset: group.unified ? EMPTY_CPUSET() : cpuset(read),
    memory: group.unified ? memoryV2(read) : memoryV1(read),
    // Here no limit is none.
    pids: some({
      current: count(read("pids", "pids.current")),
      limit: limit === undefined || limit.trim() === "max" ? 0 : count(limit),
    }),
    blkio: group.unified ? blkioV2(read) : blkioV1(read),
    hugetlb: hugetlb(read, group.unified),
    intel_rdt: {},
    network_interfaces: null,
  };
}

function cpuV1(read: Read) {
  const stat = parseFlat(read("cpu", "cpu.stat"));
  const all = (read("cpuacct", "cpuacct.usage_all") ?? "").trim().split("\n").slice(1);
  const column = (index: number) => all.map((line) => Number(line.split(" ")[index]));
  const ticks = parseFlat(read("cpuacct", "cpuacct.stat"));
  // The kernel counts in hundredths of a second there.
  const time = (name: string) => Number(ticks[name] ?? 0) * 10_000_000;
  const percpu = (read("cpuacct", "cpuacct.usage_percpu") ?? "").trim().split(" ").filter(Boolean);
  return {
    usage: {
      ...some({ total: count(read("cpuacct", "cpuacct.usage") ?? "0") }),
      ...(percpu.length > 0 ? { percpu: percpu.map(Number) } : {}),
      ...(all.length > 0 ? { percpu_kernel: column(2), percpu_user: column(1) } : {}),
      kernel: time("system"),
      user: time("user"),
    },
    throttling: some({
      periods: stat.nr_periods,
      throttledPeriods: stat.nr_throttled,
      throttledTime: stat.throttled_time,
    }),
  };
}

function cpuV2(read: Read) {
  const stat = parseFlat(read("cpu", "cpu.stat"));
  const ns = (key: string) => Number(stat[key] ?? 0) * 1000;
  return {
    usage: { ...some({ total: ns("usage_usec") }), kernel: ns("system_usec"), user: ns("user_usec") },
    throttling: some({
      periods: stat.nr_periods,
      throttledPeriods: stat.nr_throttled,
      throttledTime: ns("throttled_usec"),
    }),
    ...pressure(read("cpu", "cpu.pressure")),
  };
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and the same for `full`. */
function pressure(text: string | undefined): { psi?: Pressure } {
  if (text === undefined) return {};
  const line = (name: string): PressureLine => {
    const words = text.split("\n").find((candidate) => candidate.startsWith(name)) ?? "";
    const value = (key: string) => Number(words.split(`${key}=`)[1]?.split(" ")[0] ?? 0);
    return { avg10: value("avg10"), avg60: value("avg60"), avg300: value("avg300"), total: value("total") };
  };
  return { psi: { some: line("some"), full: line("full") } };
}

/** `0-2,7` */
function list(text: string | undefined): number[] {
  const numbers: number[] = [];
  for (const part of (text ?? "").trim().split(",").filter(Boolean)) {
    const [from = "", to = from] = part.split("-");
    for (let number = Number(from); number <= Number(to); number++) numbers.push(number);
  }
  return numbers;
}

const CPUSET_FLAGS = [
  "cpu_exclusive",
  "mem_hardwall",
  "mem_exclusive",
  "memory_migrate",
  "memory_spread_page",
  "memory_spread_slab",
  "memory_pressure",
  "sched_load_balance",
  "sched_relax_domain_level",
] as const;

const EMPTY_CPUSET = () => Object.fromEntries(CPUSET_FLAGS.map((name) => [name, 0]));

function cpuset(read: Read) {
  const cpus = list(read("cpuset", "cpuset.cpus"));
  const mems = list(read("cpuset", "cpuset.mems"));
  const flags = CPUSET_FLAGS.map((name) => [name, Number(read("cpuset", `cpuset.${name}`) ?? 0)]);
  return {
    ...(cpus.length > 0 ? { cpus } : {}),
    ...(mems.length > 0 ? { mems } : {}),
    ...Object.fromEntries(flags),
  };
}

function memoryEntry(limit: Count, usage: Count, max: Count, failcnt: Count): MemoryEntry {
  return { limit, ...(given(usage) ? { usage } : {}), ...(given(max) ? { max } : {}), failcnt };
}

function memoryV1(read: Read) {
  const raw = parseFlat(read("memory", "memory.stat"));
  const entry = (name: string) => {
    const file = (what: string) => count(read("memory", `memory.${name}${what}`) ?? "0");
    return memoryEntry(
      file("limit_in_bytes"),
      file("usage_in_bytes"),
      file("max_usage_in_bytes"),
      file("failcnt"),
    );
  };
  return {
    ...some({ cache: raw.cache }),
    usage: entry(""),
    swap: entry("memsw."),
    kernel: entry("kmem."),
    kernelTCP: entry("kmem.tcp."),
    raw,
  };
}

/** Swap is printed as memory + swap, as in v1. */
function memoryV2(read: Read) {
  const raw = parseFlat(read("memory", "memory.stat"));
  const file = (name: string) => count(read("memory", `memory.${name}`) ?? "0");
  const usage = file("current");
  const limit = file("max");
  const swapLimit = file("swap.max");
  const sum = (a: Count, b: Count) => count(String(BigInt(a) + BigInt(b)));
  const none = memoryEntry(0, 0, 0, 0);
  return {
    ...some({ cache: raw.file }),
    usage: memoryEntry(limit, usage, file("peak"), 0),
    swap: memoryEntry(
      swapLimit === UNLIMITED || limit === UNLIMITED ? UNLIMITED : sum(swapLimit, limit),
      sum(file("swap.current"), usage),
      0,
      0,
    ),
    kernel: none,
    kernelTCP: none,
    ...(Object.keys(raw).length > 0 ? { raw } : {}),
    ...pressure(read("memory", "memory.pressure")),
  };
}

/** `8:0 Read 1282048` or, for some files, `8:0 6792`. */
function blkioEntries(text: string | undefined): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of (text ?? "").split("\n")) {
    const fields = line.split(/[ :]/);
    if (fields.length < 3) continue;
    const [major = "", minor = "", op = "", value] = fields;
    entries.push(
      value === undefined
        ? blkioEntry(major, minor, "", count(op))
        : blkioEntry(major, minor, op, count(value)),
    );
  }
  return entries;
}

function blkioEntry(major: string, minor: string, op: string, value: Count): BlkioEntry {
  return {
    ...some({ major: Number(major), minor: Number(minor) }),
    ...(op === "" ? {} : { op }),
    ...some({ value }),
  };
}

function blkioV1(read: Read): Record<string, BlkioEntry[]> {
  const first = (...files: string[]) => {
    for (const file of files) {
      const entries = blkioEntries(read("blkio", `blkio.${file}`));
      if (entries.length > 0) return entries;
    }
    return [];
  };
  // BFQ's own statistics when that is the scheduler, CFQ's of old kernels, or those of the throttling layer.
  const groups: Record<string, BlkioEntry[]> = {
    ioServiceBytesRecursive: first(
      "bfq.io_service_bytes_recursive",
      "io_service_bytes_recursive",
      "throttle.io_service_bytes_recursive",
      "throttle.io_service_bytes",
    ),
    ioServicedRecursive: first(
      "bfq.io_serviced_recursive",
      "io_serviced_recursive",
      "throttle.io_serviced_recursive",
      "throttle.io_serviced",
    ),
    ioQueueRecursive: first("bfq.io_queued_recursive", "io_queued_recursive"),
    ioServiceTimeRecursive: first("bfq.io_service_time_recursive", "io_service_time_recursive"),
    ioWaitTimeRecursive: first("bfq.io_wait_time_recursive", "io_wait_time_recursive"),
    ioMergedRecursive: first("bfq.io_merged_recursive", "io_merged_recursive"),
    ioTimeRecursive: first("bfq.time_recursive", "time_recursive"),
    sectorsRecursive: first("bfq.sectors_recursive", "sectors_recursive"),
  };
  return Object.fromEntries(Object.entries(groups).filter(([, entries]) => entries.length > 0));
}

/** `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0` */
function blkioV2(read: Read): Record<string, BlkioEntry[] | Pressure> {
  const bytes: BlkioEntry[] = [];
  const operations: BlkioEntry[] = [];
  for (const line of (read("io", "io.stat") ?? "").split("\n")) {
    const [device = "", ...items] = line.split(" ");
    const [major = "", minor] = device.split(":");
    if (minor === undefined) continue;
    for (const item of items) {
      const [key, value] = item.split("=");
      if (key === "rbytes") bytes.push(blkioEntry(major, minor, "Read", count(value)));
      if (key === "wbytes") bytes.push(blkioEntry(major, minor, "Write", count(value)));
      if (key === "rios") operations.push(blkioEntry(major, minor, "Read", count(value)));
      if (key === "wios") operations.push(blkioEntry(major, minor, "Write", count(value)));
    }
  }
  return {
    ...(bytes.length > 0 ? { ioServiceBytesRecursive: bytes } : {}),
    ...(operations.length > 0 ? { ioServicedRecursive: operations } : {}),
    ...pressure(read("io", "io.pressure")),
  };
}

/** By page size as the kernel names it in control files: 2MB, 1GB. */
function hugetlb(read: Read, unified: boolean): Record<string, Partial<MemoryEntry>> {
  const sizes: Record<string, Partial<MemoryEntry>> = {};
  for (const size of pageSizes()) {
    const file = (name: string) =>
      read("hugetlb", `hugetlb.${size}.rsvd.${name}`) ?? read("hugetlb", `hugetlb.${size}.${name}`);
    const usage = file(unified ? "current" : "usage_in_bytes");
    if (usage === undefined) continue;
    const events = parseFlat(read("hugetlb", `hugetlb.${size}.events`));
    const failures = unified ? (events.max ?? 0) : count(file("failcnt") ?? "0");
    sizes[size] = {
      ...some({ usage: count(usage), max: unified ? 0 : count(file("max_usage_in_bytes") ?? "0") }),
      failcnt: failures,
    };
  }
  return sizes;
}

function pageSizes(): string[] {
  const prefix = "hugepages-";
  let names: string[];
  try {
    names = readDirectory("/sys/kernel/mm/hugepages").map(({ name }) => name);
  } catch {
    // A kernel without huge pages.
    return [];
  }
  return names
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length).replace("kB", "")))
    .map((kB) => (kB >= 1 << 20 ? `${kB >> 20}GB` : kB >= 1 << 10 ? `${kB >> 10}MB` : `${kB}KB`));
}

/** JSON of statistics; numbers beyond 2^53 are written in full. */
export function statsJson(value: unknown): string {
  const marker = "\u0000";
  const text = JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? `${marker}${member}${marker}` : member,
  );
  return text.replaceAll(/"\\u0000(\d+)\\u0000"/g, "$1");
}
