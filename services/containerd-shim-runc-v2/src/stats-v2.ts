import { type IOEntry, Metrics } from "@longshore/api/containerd/cgroups/cgroup2/stats/metrics";
import type { Any } from "@longshore/api/google/protobuf/any";
import { readKeyed, readLines, readNumber } from "./control-file.ts";

/** The metrics of cgroup v2: one group with all controllers. */
export function readStats2(path: string): Any {
  const events = readKeyed(`${path}/memory.events`);
  const metrics = Metrics.fromPartial({
    pids: { current: readNumber(`${path}/pids.current`), limit: readNumber(`${path}/pids.max`) },
    cpu: cpuOf(path),
    memory: memoryOf(path),
    io: { usage: readLines(`${path}/io.stat`).map(ioEntry) },
    memoryEvents: {
      low: events("low"),
      high: events("high"),
      max: events("max"),
      oom: events("oom"),
      oomKill: events("oom_kill"),
      oomGroupKill: events("oom_group_kill"),
    },
  });
  return {
    typeUrl: "io.containerd.cgroups.v2.Metrics",
    value: Buffer.from(Metrics.encode(metrics).finish()),
  };
}

function cpuOf(path: string) {
  const stat = readKeyed(`${path}/cpu.stat`);
  return {
    usageUsec: stat("usage_usec"),
    userUsec: stat("user_usec"),
    systemUsec: stat("system_usec"),
    nrPeriods: stat("nr_periods"),
    nrThrottled: stat("nr_throttled"),
    throttledUsec: stat("throttled_usec"),
    nrBursts: stat("nr_bursts"),
    burstUsec: stat("burst_usec"),
  };
}

function memoryOf(path: string) {
  const stat = readKeyed(`${path}/memory.stat`);
  return {
    anon: stat("anon"),
    file: stat("file"),
    kernelStack: stat("kernel_stack"),
    slab: stat("slab"),
    sock: stat("sock"),
    shmem: stat("shmem"),
    fileMapped: stat("file_mapped"),
    fileDirty: stat("file_dirty"),
    fileWriteback: stat("file_writeback"),
    anonThp: stat("anon_thp"),
    inactiveAnon: stat("inactive_anon"),
    activeAnon: stat("active_anon"),
    inactiveFile: stat("inactive_file"),
    activeFile: stat("active_file"),
    unevictable: stat("unevictable"),
    slabReclaimable: stat("slab_reclaimable"),
    slabUnreclaimable: stat("slab_unreclaimable"),
    pgfault: stat("pgfault"),
    pgmajfault: stat("pgmajfault"),
    workingsetRefault: stat("workingset_refault_file") + stat("workingset_refault_anon"),
    workingsetActivate: stat("workingset_activate_file") + stat("workingset_activate_anon"),
    workingsetNodereclaim: stat("workingset_nodereclaim"),
    pgrefill: stat("pgrefill"),
    pgscan: stat("pgscan"),
    pgsteal: stat("pgsteal"),
    pgactivate: stat("pgactivate"),
    pgdeactivate: stat("pgdeactivate"),
    pglazyfree: stat("pglazyfree"),
    pglazyfreed: stat("pglazyfreed"),
    thpFaultAlloc: stat("thp_fault_alloc"),
    thpCollapseAlloc: stat("thp_collapse_alloc"),
    usage: readNumber(`${path}/memory.current`),
    usageLimit: readNumber(`${path}/memory.max`),
    swapUsage: readNumber(`${path}/memory.swap.current`),
    swapLimit: readNumber(`${path}/memory.swap.max`),
    maxUsage: readNumber(`${path}/memory.peak`),
    swapMaxUsage: readNumber(`${path}/memory.swap.peak`),
  };
}

/** `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` */
function ioEntry(line: string): IOEntry {
  const [device = "", ...pairs] = line.split(" ");
  const [major = "0", minor = "0"] = device.split(":");
  const values = new Map(pairs.map((pair) => pair.split("=") as [string, string]));
  const of = (key: string) => BigInt(values.get(key) ?? 0);
  return {
    major: BigInt(major),
    minor: BigInt(minor),
    rbytes: of("rbytes"),
    wbytes: of("wbytes"),
    rios: of("rios"),
    wios: of("wios"),
  };
}
