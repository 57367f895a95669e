import * as v1 from "@longshore/api/containerd/cgroups/cgroup1/stats/metrics";
import * as v2 from "@longshore/api/containerd/cgroups/cgroup2/stats/metrics";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";

type Fields = Record<string, unknown>;

/** What a container's cgroup has used, in the API's words. */
export interface CgroupUsage {
  cpu_usage: Fields & { total_usage: bigint };
  throttling_data: Fields;
  memory: Fields & { limit: bigint };
  blkio_stats: Fields;
  pids_stats: Fields;
}

/** containerd's metrics of either version of cgroups. @throws EngineError `internal` for others */
export function readMetrics({ typeUrl, value }: Any): CgroupUsage {
  if (typeUrl.endsWith("cgroups.v1.Metrics")) return usageV1(v1.Metrics.decode(value));
  if (typeUrl.endsWith("cgroups.v2.Metrics")) return usageV2(v2.Metrics.decode(value));
  throw new EngineError("internal", `containerd tells metrics of an unknown kind: ${typeUrl}`);
}

/** `pgPgIn` → `pgpgin`, `totalInactiveFile` → `total_inactive_file` */
function names(stat: object, drop: readonly string[]): Fields {
  const given = Object.entries(stat).filter(
    ([name, value]) => typeof value === "bigint" && !drop.includes(name),
  );
  return Object.fromEntries(given.map(([name, value]) => [snake(name), value]));
}

function snake(name: string): string {
  return (
    name
      .replace(/[pP]g(Pg)?(In|Out|Fault|MajFault)$/, (found) => `_${found.toLowerCase()}`)
      .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      // As the kernel has them.
      .replace(/^_/, "")
      .replace(/^hierarchical_swap_limit$/, "hierarchical_memsw_limit")
  );
}

function usageV1({ cpu, memory, blkio, pids }: v1.Metrics): CgroupUsage {
  const { usage, ...stats } = memory ?? v1.MemoryStat.fromPartial({});
  return {
    cpu_usage: {
      total_usage: cpu?.usage?.total ?? 0n,
      percpu_usage: cpu?.usage?.perCpu ?? [],
      usage_in_kernelmode: cpu?.usage?.kernel ?? 0n,
      usage_in_usermode: cpu?.usage?.user ?? 0n,
    },
    throttling_data: {
      periods: cpu?.throttling?.periods ?? 0n,
      throttled_periods: cpu?.throttling?.throttledPeriods ?? 0n,
      throttled_time: cpu?.throttling?.throttledTime ?? 0n,
    },
    memory: {
      ...withoutZeros({ usage: usage?.usage, max_usage: usage?.max, failcnt: usage?.failcnt }),
      stats: names(stats, []),
      limit: usage?.limit ?? 0n,
    },
    blkio_stats: {
      io_service_bytes_recursive: entries(blkio?.ioServiceBytesRecursive),
      io_serviced_recursive: entries(blkio?.ioServicedRecursive),
      io_queue_recursive: entries(blkio?.ioQueuedRecursive),
      io_service_time_recursive: entries(blkio?.ioServiceTimeRecursive),
      io_wait_time_recursive: entries(blkio?.ioWaitTimeRecursive),
      io_merged_recursive: entries(blkio?.ioMergedRecursive),
      io_time_recursive: entries(blkio?.ioTimeRecursive),
      sectors_recursive: entries(blkio?.sectorsRecursive),
    },
    pids_stats: pidsOf(pids),
  };
}

function entries(list: readonly v1.BlkIOEntry[] = []): object[] {
  return list.map(({ major, minor, op, value }) => ({ major, minor, op, value }));
}

function usageV2({ cpu, memory, io, pids, memoryEvents }: v2.Metrics): CgroupUsage {
  const { usage, usageLimit, ...stats } = memory ?? v2.MemoryStat.fromPartial({});
  const devices = io?.usage ?? [];
  const both = (read: "rbytes" | "rios", write: "wbytes" | "wios") =>
    devices.flatMap((device) => [
      { major: device.major, minor: device.minor, op: "read", value: device[read] },
      { major: device.major, minor: device.minor, op: "write", value: device[write] },
    ]);
  return {
    cpu_usage: {
      total_usage: (cpu?.usageUsec ?? 0n) * 1000n,
      usage_in_kernelmode: (cpu?.systemUsec ?? 0n) * 1000n,
      usage_in_usermode: (cpu?.userUsec ?? 0n) * 1000n,
    },
    throttling_data: {
      periods: cpu?.nrPeriods ?? 0n,
      throttled_periods: cpu?.nrThrottled ?? 0n,
      throttled_time: (cpu?.throttledUsec ?? 0n) * 1000n,
    },
    memory: {
      ...withoutZeros({ usage, failcnt: memoryEvents?.oom }),
      stats: names(stats, ["swapUsage", "swapLimit", "maxUsage", "swapMaxUsage"]),
      limit: usageLimit,
    },
    blkio_stats: {
      io_service_bytes_recursive: both("rbytes", "wbytes"),
      io_serviced_recursive: null,
      io_queue_recursive: null,
      io_service_time_recursive: null,
      io_wait_time_recursive: null,
      io_merged_recursive: null,
      io_time_recursive: null,
      sectors_recursive: null,
    },
    pids_stats: pidsOf(pids),
  };
}

/** As Docker leaves out of a memory's numbers those that are zero. */
function withoutZeros(numbers: Record<string, bigint | undefined>): Fields {
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => (value ?? 0n) !== 0n));
}

/** Without a limit Docker tells none, or the largest number. */
function pidsOf(pids: { current: bigint; limit: bigint } | undefined): Fields {
  return { current: pids?.current ?? 0n, ...(pids && pids.limit > 0n && { limit: pids.limit }) };
}
