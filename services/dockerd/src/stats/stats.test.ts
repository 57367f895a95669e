import { expect, test } from "bun:test";
import * as v1 from "@longshore/api/containerd/cgroups/cgroup1/stats/metrics";
import * as v2 from "@longshore/api/containerd/cgroups/cgroup2/stats/metrics";
import { readMetrics } from "./cgroup-usage.ts";
import { parseStat } from "./host-usage.ts";
import { parseNetDev } from "./network-usage.ts";

test("parseStat() adds up the times of all processors and counts them", () => {
  const text = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1\ncpu1 0 1 2 3 4 5 6\nintr 5\n";
  expect(parseStat(text)).toEqual({ cpuNs: 28 * 10_000_000, cpus: 2 });
});

test("parseNetDev() leaves the loopback out, and reads numbers next to a name", () => {
  const text = [
    "Inter-|   Receive                                                |  Transmit",
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed",
    "    lo:     1       2    0    0    0     0          0         0       1       2    0    0    0     0       0          0",
    "  eth0:12345678901       2    3    4    0     0          0         0      9      8    7    6    0     0       0          0",
  ].join("\n");
  expect(parseNetDev(text)).toEqual({
    eth0: {
      rx_bytes: 12345678901,
      rx_packets: 2,
      rx_errors: 3,
      rx_dropped: 4,
      tx_bytes: 9,
      tx_packets: 8,
      tx_errors: 7,
      tx_dropped: 6,
    },
  });
});

test("readMetrics() has v1's statistics under the kernel's names", () => {
  const metrics = v1.Metrics.fromPartial({
    memory: {
      usage: { usage: 5n, limit: 7n },
      totalInactiveFile: 3n,
      pgPgIn: 4n,
      totalPgMajFault: 6n,
      rssHuge: 9n,
    },
    cpu: { usage: { total: 11n, perCpu: [5n, 6n] } },
    pids: { current: 2n, limit: 0n },
  });
  const typeUrl = "io.containerd.cgroups.v1.Metrics";
  const usage = readMetrics({ typeUrl, value: Buffer.from(v1.Metrics.encode(metrics).finish()) });
  expect(usage.cpu_usage).toMatchObject({ total_usage: 11n, percpu_usage: [5n, 6n] });
  expect(usage.memory).toMatchObject({ usage: 5n, limit: 7n });
  for (const zero of ["max_usage", "failcnt"]) expect(usage.memory).not.toHaveProperty(zero);
  expect(usage.memory.stats).toMatchObject({
    total_inactive_file: 3n,
    pgpgin: 4n,
    total_pgmajfault: 6n,
    rss_huge: 9n,
    hierarchical_memsw_limit: 0n,
  });
  expect(usage.pids_stats).toEqual({ current: 2n });
});

test("readMetrics() counts v2's microseconds as nanoseconds, and has its input and output by operation", () => {
  const metrics = v2.Metrics.fromPartial({
    memory: { usage: 5n, usageLimit: 7n, inactiveFile: 3n, workingsetRefault: 2n, pgmajfault: 4n },
    cpu: { usageUsec: 11n, throttledUsec: 2n },
    io: { usage: [{ major: 8n, minor: 0n, rbytes: 10n, wbytes: 20n }] },
    pids: { current: 2n, limit: 100n },
  });
  const typeUrl = "io.containerd.cgroups.v2.Metrics";
  const usage = readMetrics({ typeUrl, value: Buffer.from(v2.Metrics.encode(metrics).finish()) });
  expect(usage.cpu_usage.total_usage).toBe(11_000n);
  expect(usage.throttling_data.throttled_time).toBe(2000n);
  expect(usage.memory.stats).toMatchObject({ inactive_file: 3n, workingset_refault: 2n, pgmajfault: 4n });
  expect(usage.memory.stats).not.toHaveProperty("max_usage");
  expect(usage.blkio_stats.io_service_bytes_recursive).toEqual([
    { major: 8n, minor: 0n, op: "read", value: 10n },
    { major: 8n, minor: 0n, op: "write", value: 20n },
  ]);
  expect(usage.pids_stats).toEqual({ current: 2n, limit: 100n });
});
