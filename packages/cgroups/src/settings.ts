import type { DeviceRule, Resources } from "@longshore/oci";
import { blkioToIoWeight, limitText, plain, sharesToWeight, swapMax } from "./convert.ts";

/** One write to a control file. */
export interface Setting {
  /** v1: which hierarchy. v2: which controller must be on; "" for files that are always there. */
  controller: string;
  file: string;
  value: string;
  /** Left out when the kernel doesn't have the file (as the original does for what only some kernels have). */
  optional?: boolean;
}

function throttles(resources: Resources): [file: string, key: string, lines: string[]][] {
  const io = resources.blockIO;
  const of = (list: { major: number; minor: number; rate: number }[] | undefined) =>
    (list ?? []).map(({ major, minor, rate }) => `${major}:${minor} ${rate}`);
  return [
    ["blkio.throttle.read_bps_device", "rbps", of(io?.throttleReadBpsDevice)],
    ["blkio.throttle.write_bps_device", "wbps", of(io?.throttleWriteBpsDevice)],
    ["blkio.throttle.read_iops_device", "riops", of(io?.throttleReadIOPSDevice)],
    ["blkio.throttle.write_iops_device", "wiops", of(io?.throttleWriteIOPSDevice)],
  ];
}

/** A rule in the words of `devices.allow` and `devices.deny`. */
export function deviceRuleText({ type, major, minor, access }: DeviceRule): string {
  if (type === undefined || type === "" || type === "a") return "a";
  const number = (value: number | undefined) => (value === undefined || value < 0 ? "*" : String(value));
  return `${type} ${number(major)}:${number(minor)} ${access === undefined || access === "" ? "rwm" : access}`;
}

/** The writes that bring resources about in v1, in an order in which no step is refused for a later one's sake. */
export function settingsV1(resources: Resources): Setting[] {
  const settings: Setting[] = [];
  const put = (controller: string, file: string, value: string | undefined, optional = false) => {
    if (value !== undefined) settings.push({ controller, file, value, optional });
  };
  const set = (value: number | undefined) => (value === undefined || value === 0 ? undefined : plain(value));
  const { memory, cpu, pids, blockIO, hugepageLimits } = resources;

  for (const rule of resources.devices ?? []) {
    put("devices", rule.allow ? "devices.allow" : "devices.deny", deviceRuleText(rule));
  }
  if (memory) {
    // The kernel keeps limit ≤ memory+swap at each step. A limit alone allows as much swap again, as documented.
    put("memory", "memory.limit_in_bytes", set(memory.limit));
    put("memory", "memory.memsw.limit_in_bytes", set(memory.swap), memory.swap === -1);
    put("memory", "memory.soft_limit_in_bytes", set(memory.reservation));
    put("memory", "memory.kmem.tcp.limit_in_bytes", set(memory.kernelTCP));
    if (memory.disableOOMKiller) put("memory", "memory.oom_control", "1");
    if (memory.swappiness !== undefined) put("memory", "memory.swappiness", String(memory.swappiness));
  }
  if (cpu) {
    put("cpu", "cpu.shares", set(cpu.shares));
    put("cpu", "cpu.cfs_period_us", set(cpu.period));
    put("cpu", "cpu.cfs_quota_us", set(cpu.quota));
    put("cpu", "cpu.cfs_burst_us", set(cpu.burst));
    put("cpu", "cpu.rt_period_us", set(cpu.realtimePeriod));
    put("cpu", "cpu.rt_runtime_us", set(cpu.realtimeRuntime));
    if (cpu.idle !== undefined) put("cpu", "cpu.idle", String(cpu.idle));
    put("cpuset", "cpuset.cpus", cpu.cpus || undefined);
    put("cpuset", "cpuset.mems", cpu.mems || undefined);
  }
  if (pids && pids.limit !== 0) put("pids", "pids.max", limitText(pids.limit));
  if (blockIO) {
    put("blkio", "blkio.bfq.weight", set(blockIO.weight), true);
    for (const [file, , lines] of throttles(resources)) for (const line of lines) put("blkio", file, line);
  }
  for (const { pageSize, limit } of hugepageLimits ?? []) {
    put("hugetlb", `hugetlb.${pageSize}.limit_in_bytes`, plain(limit));
  }
  return settings;
}

/** The same for v2; device rules are an eBPF program there, not a file. */
export function settingsV2(resources: Resources): Setting[] {
  const settings: Setting[] = [];
  const put = (controller: string, file: string, value: string | undefined, optional = false) => {
    if (value !== undefined) settings.push({ controller, file, value, optional });
  };
  const { memory, cpu, pids, blockIO, hugepageLimits } = resources;
  const limit = (value: number | undefined) =>
    value === undefined || value === 0 ? undefined : limitText(value);

  if (memory) {
    // No swap on the machine, no such file: "unlimited" is then what it is anyway, and 0 too.
    const swap = swapMax(memory.swap, memory.limit);
    put("memory", "memory.swap.max", swap, swap === "max" || swap === "0");
    put("memory", "memory.max", limit(memory.limit));
    put("memory", "memory.low", limit(memory.reservation));
  }
  if (cpu) {
    const weight = sharesToWeight(cpu.shares ?? 0);
    put("cpu", "cpu.weight", weight === 0 ? undefined : String(weight));
    if (cpu.quota !== undefined || (cpu.period ?? 0) !== 0) {
      const quota = cpu.quota !== undefined && cpu.quota > 0 ? String(cpu.quota) : "max";
      put("cpu", "cpu.max", `${quota} ${cpu.period || 100000}`);
    }
    if (cpu.burst !== undefined) put("cpu", "cpu.max.burst", String(cpu.burst));
    if (cpu.idle !== undefined) put("cpu", "cpu.idle", String(cpu.idle));
    put("cpuset", "cpuset.cpus", cpu.cpus || undefined);
    put("cpuset", "cpuset.mems", cpu.mems || undefined);
  }
  if (pids && pids.limit !== 0) put("pids", "pids.max", limitText(pids.limit));
  if (blockIO) {
    const weight = blkioToIoWeight(blockIO.weight ?? 0);
    put("io", "io.weight", weight === 0 ? undefined : `default ${weight}`, true);
    for (const [, key, lines] of throttles(resources)) {
      for (const line of lines) put("io", "io.max", line.replace(" ", ` ${key}=`));
    }
  }
  for (const { pageSize, limit: bytes } of hugepageLimits ?? []) {
    put("hugetlb", `hugetlb.${pageSize}.max`, plain(bytes));
  }
  for (const [file, value] of Object.entries(resources.unified ?? {})) {
    put(file.slice(0, Math.max(0, file.indexOf("."))).replace("cgroup", ""), file, value);
  }
  return settings;
}
