import {
  type BlkIOEntry,
  type MemoryEntry,
  Metrics,
} from "@longshore/api/containerd/cgroups/cgroup1/stats/metrics";
import type { Any } from "@longshore/api/google/protobuf/any";
import { readDirectory } from "@longshore/syscalls";
import { readKeyed, readLines, readNumber } from "./control-file.ts";

/** Nanoseconds in a tick of the kernel's user-space clock (USER_HZ is 100). */
const NS_PER_TICK = 10_000_000n;

/** The metrics of cgroup v1: one hierarchy for each controller. */
export function readStats1(paths: ReadonlyMap<string, string>): Any {
  const of = (controller: string) => paths.get(controller) ?? "/nonexistent";
  const metrics = Metrics.fromPartial({
    hugetlb: hugetlbOf(of("hugetlb")),
    pids: { current: readNumber(`${of("pids")}/pids.current`), limit: pidsLimit(of("pids")) },
    cpu: cpuOf(of("cpuacct"), of("cpu")),
    memory: memoryOf(of("memory")),
    blkio: blkioOf(of("blkio")),
    memoryOomControl: oomOf(of("memory")),
  });
  return {
    typeUrl: "io.containerd.cgroups.v1.Metrics",
    value: Buffer.from(Metrics.encode(metrics).finish()),
  };
}

/** No limit is zero, as the original tells it. */
function pidsLimit(path: string): bigint {
  const limit = readNumber(`${path}/pids.max`);
  return limit === 2n ** 64n - 1n ? 0n : limit;
}

function cpuOf(cpuacct: string, cpu: string) {
  const ticks = readKeyed(`${cpuacct}/cpuacct.stat`);
  const throttling = readKeyed(`${cpu}/cpu.stat`);
  const perCpu = readLines(`${cpuacct}/cpuacct.usage_percpu`)
    .join(" ")
    .split(" ")
    .filter(Boolean)
    .map(BigInt);
  return {
    usage: {
      total: readNumber(`${cpuacct}/cpuacct.usage`),
      kernel: ticks("system") * NS_PER_TICK,
      user: ticks("user") * NS_PER_TICK,
      perCpu,
    },
    throttling: {
      periods: throttling("nr_periods"),
      throttledPeriods: throttling("nr_throttled"),
      throttledTime: throttling("throttled_time"),
    },
  };
}

function memoryOf(path: string) {
  const stat = readKeyed(`${path}/memory.stat`);
  const entry = (name: string): MemoryEntry => ({
    limit: readNumber(`${path}/memory.${name}limit_in_bytes`),
    usage: readNumber(`${path}/memory.${name}usage_in_bytes`),
    max: readNumber(`${path}/memory.${name}max_usage_in_bytes`),
    failcnt: readNumber(`${path}/memory.${name}failcnt`),
  });
  return {
    cache: stat("cache"),
    rss: stat("rss"),
    rssHuge: stat("rss_huge"),
    mappedFile: stat("mapped_file"),
    dirty: stat("dirty"),
    writeback: stat("writeback"),
    pgPgIn: stat("pgpgin"),
    pgPgOut: stat("pgpgout"),
    pgFault: stat("pgfault"),
    pgMajFault: stat("pgmajfault"),
    inactiveAnon: stat("inactive_anon"),
    activeAnon: stat("active_anon"),
    inactiveFile: stat("inactive_file"),
    activeFile: stat("active_file"),
    unevictable: stat("unevictable"),
    hierarchicalMemoryLimit: stat("hierarchical_memory_limit"),
    hierarchicalSwapLimit: stat("hierarchical_memsw_limit"),
    totalCache: stat("total_cache"),
    totalRss: stat("total_rss"),
    totalRssHuge: stat("total_rss_huge"),
    totalMappedFile: stat("total_mapped_file"),
    totalDirty: stat("total_dirty"),
    totalWriteback: stat("total_writeback"),
    totalPgPgIn: stat("total_pgpgin"),
    totalPgPgOut: stat("total_pgpgout"),
    totalPgFault: stat("total_pgfault"),
    totalPgMajFault: stat("total_pgmajfault"),
    totalInactiveAnon: stat("total_inactive_anon"),
    totalActiveAnon: stat("total_active_anon"),
    totalInactiveFile: stat("total_inactive_file"),
    totalActiveFile: stat("total_active_file"),
    totalUnevictable: stat("total_unevictable"),
    usage: entry(""),
    swap: entry("memsw."),
    kernel: entry("kmem."),
    kernelTcp: entry("kmem.tcp."),
  };
}

function oomOf(path: string) {
  const stat = readKeyed(`${path}/memory.oom_control`);
  return { oomKillDisable: stat("oom_kill_disable"), underOom: stat("under_oom"), oomKill: stat("oom_kill") };
}

/** The throttler's counters are there for every scheduler. */
function blkioOf(path: string) {
  return {
    ioServiceBytesRecursive: blkioEntries(`${path}/blkio.throttle.io_service_bytes_recursive`),
    ioServicedRecursive: blkioEntries(`${path}/blkio.throttle.io_serviced_recursive`),
  };
}

/** Lines `8:0 Read 4096`; the last line is a total without a device. */
function blkioEntries(file: string): BlkIOEntry[] {
  return readLines(file).flatMap((line) => {
    const [, major, minor, op, value] = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line) ?? [];
    if (major === undefined || minor === undefined || op === undefined || value === undefined) return [];
    return [{ op, device: "", major: BigInt(major), minor: BigInt(minor), value: BigInt(value) }];
  });
}

function hugetlbOf(path: string) {
  let names: string[];
  try {
    names = readDirectory(path).map(({ name }) => name);
  } catch {
    return []; // the controller isn't mounted
  }
  return names.flatMap((name) => {
    const [, pagesize] = /^hugetlb\.(\w+)\.usage_in_bytes$/.exec(name) ?? [];
    if (pagesize === undefined) return [];
    return [
      {
        pagesize,
        usage: readNumber(`${path}/${name}`),
        max: readNumber(`${path}/hugetlb.${pagesize}.max_usage_in_bytes`),
        failcnt: readNumber(`${path}/hugetlb.${pagesize}.failcnt`),
      },
    ];
  });
}
