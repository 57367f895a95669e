import type { BlockIo, Cpu, Memory, Resources, ThrottleDevice } from "@longshore/oci";
import { blkioToIoWeight, limitText, plain, sharesToWeight, swapMax } from "./convert.ts";

/** One write to a control file. */
export interface Setting {
  /** v1: which hierarchy. v2: which controller must be on; "" for files that are always there. */
  controller: string;
  file: string;
  value: string;
  /** In whose place it goes where the kernel hasn't `file`, with a value of its own when that differs. */
  otherwise?: { file: string; value?: string };
  /** A missing file is no failure. */
  optional?: boolean;
  /**
   * The kernel may refuse it (EINVAL) because of a value that a later setting of this list changes, such as a limit above the old
   * memory+swap: it is then tried once more after the others of its controller.
   */
  again?: boolean;
}

/** Settings, and what was asked for but is left alone, in words. */
export interface Plan {
  settings: Setting[];
  warnings: string[];
}

type Options = Pick<Setting, "otherwise" | "optional" | "again">;
type Put = (file: string, value: string | undefined, options?: Options) => void;

/** A collector of settings; a file's name starts with its controller unless that is given. */
function collector(settings: Setting[]): (controller: string) => Put {
  return (controller) => (file, value, options) => {
    if (value !== undefined) settings.push({ controller, file, value, ...options });
  };
}

const set = (value: number | undefined) => (value === undefined || value === 0 ? undefined : plain(value));

/** The settings for resources in v1, in the order of the original's controllers. Device rules come separately. */
export function settingsV1(resources: Resources): Plan {
  const plan: Plan = { settings: [], warnings: [] };
  const into = collector(plan.settings);
  const { memory, cpu, pids, blockIO, hugepageLimits, network, rdma } = resources;
  if (cpu) {
    const cpuset = into("cpuset");
    cpuset("cpuset.cpus", cpu.cpus || undefined);
    cpuset("cpuset.mems", cpu.mems || undefined);
  }
  if (memory) plan.warnings.push(...memoryV1(memory, into("memory")));
  if (cpu) cpuV1(cpu, into("cpu"));
  if (pids?.limit !== undefined) into("pids")("pids.max", pidsMax(pids.limit));
  if (blockIO) blkio(blockIO, into("blkio"));
  for (const { pageSize, limit } of hugepageLimits ?? []) {
    const put = into("hugetlb");
    put(`hugetlb.${pageSize}.limit_in_bytes`, plain(limit));
    put(`hugetlb.${pageSize}.rsvd.limit_in_bytes`, plain(limit), { optional: true });
  }
  into("net_cls")("net_cls.classid", set(network?.classID));
  for (const { name, priority } of network?.priorities ?? []) {
    into("net_prio")("net_prio.ifpriomap", `${name} ${priority}`);
  }
  rdmaMax(rdma, into("rdma"));
  return plan;
}

function memoryV1(memory: Memory, put: Put): string[] {
  const { limit, kernel, kernelTCP, swappiness } = memory;
  const unlimited = limit === -1 && (memory.swap ?? 0) === 0;
  const swap = unlimited ? -1 : memory.swap;
  // The kernel keeps limit ≤ memory+swap at each step, so which of the two must go first depends on where they are now.
  put("memory.limit_in_bytes", set(limit), { again: (swap ?? 0) !== 0 });
  put("memory.memsw.limit_in_bytes", set(swap), { optional: unlimited });
  put("memory.soft_limit_in_bytes", set(memory.reservation));
  put("memory.kmem.tcp.limit_in_bytes", set(kernelTCP), { optional: true });
  if (memory.useHierarchy) put("memory.use_hierarchy", "1", { optional: true });
  if (memory.disableOOMKiller) put("memory.oom_control", "1");
  if (swappiness !== undefined) put("memory.swappiness", swappinessText(swappiness));
  return kernel === undefined ? [] : ["Kernel memory settings are ignored and will be removed"];
}

/** In v2 there is no such file; what the specification doesn't allow is refused all the same. */
function swappinessText(value: number): string | undefined {
  // −1 in the 64 bits without a sign that the original reads it as: left alone.
  if (value >= 2 ** 64 - 1) return undefined;
  if (value > 100) throw new RangeError(`invalid memory swappiness value: ${value} (valid range is 0-100)`);
  return plain(value);
}

function cpuV1(cpu: Cpu, put: Put): void {
  const { shares = 0, quota = 0, realtimeRuntime = 0 } = cpu;
  // The kernel takes any number and makes it one that it likes.
  if (shares > 262144) throw new RangeError("the maximum allowed cpu-shares is 262144");
  if (shares === 1) throw new RangeError("the minimum allowed cpu-shares is 2");
  put("cpu.shares", set(shares));
  put("cpu.cfs_period_us", set(cpu.period), { again: quota !== 0 });
  put("cpu.cfs_burst_us", cpu.burst === undefined ? undefined : plain(cpu.burst), {
    optional: true,
    again: quota !== 0,
  });
  put("cpu.cfs_quota_us", set(quota));
  if (cpu.idle !== undefined) put("cpu.idle", plain(cpu.idle));
  put("cpu.rt_period_us", set(cpu.realtimePeriod), { again: realtimeRuntime !== 0 });
  put("cpu.rt_runtime_us", set(realtimeRuntime));
}

/** A limit of none is one of one, as systemd and the original have it: the container's first process is there before the limit. */
function pidsMax(limit: number): string {
  return limit === 0 ? "1" : limitText(limit);
}

/** A rate from which on there is none, in version 2. */
const NO_RATE = 2 ** 63;

const THROTTLES = (io: BlockIo): [file: string, key: string, list: ThrottleDevice[] | undefined][] => [
  ["blkio.throttle.read_bps_device", "rbps", io.throttleReadBpsDevice],
  ["blkio.throttle.write_bps_device", "wbps", io.throttleWriteBpsDevice],
  ["blkio.throttle.read_iops_device", "riops", io.throttleReadIOPSDevice],
  ["blkio.throttle.write_iops_device", "wiops", io.throttleWriteIOPSDevice],
];

function blkio(io: BlockIo, put: Put): void {
  // With the CFQ scheduler of old kernels `blkio.weight`; BFQ has its own name.
  put("blkio.weight", set(io.weight), { otherwise: { file: "blkio.bfq.weight" } });
  put("blkio.leaf_weight", set(io.leafWeight));
  for (const { major, minor, weight, leafWeight } of io.weightDevice ?? []) {
    // 0 takes it away.
    if (weight !== undefined) {
      put("blkio.weight_device", `${major}:${minor} ${weight}`, {
        otherwise: { file: "blkio.bfq.weight_device" },
      });
    }
    if (leafWeight) put("blkio.leaf_weight_device", `${major}:${minor} ${leafWeight}`);
  }
  for (const [file, , list] of THROTTLES(io)) {
    for (const { major, minor, rate } of list ?? []) put(file, `${major}:${minor} ${plain(rate)}`);
  }
}

function rdmaMax(rdma: Resources["rdma"], put: Put): void {
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(rdma ?? {})) {
    const handles = hcaHandles === undefined ? "" : ` hca_handle=${hcaHandles}`;
    const objects = hcaObjects === undefined ? "" : ` hca_object=${hcaObjects}`;
    put("rdma.max", `${device}${handles}${objects}`);
  }
}

/** The same for v2, in the order of the original; device rules are an eBPF program there. */
export function settingsV2(resources: Resources): Plan {
  const plan: Plan = { settings: [], warnings: [] };
  const into = collector(plan.settings);
  const { memory, cpu, pids, blockIO, hugepageLimits, rdma } = resources;
  if (pids?.limit !== undefined) into("pids")("pids.max", pidsMax(pids.limit));
  if (memory) plan.warnings.push(...memoryV2(memory, into("memory")));
  if (blockIO) io(blockIO, into("io"));
  if (cpu) {
    cpuV2(cpu, into("cpu"));
    const cpuset = into("cpuset");
    cpuset("cpuset.cpus", cpu.cpus || undefined);
    cpuset("cpuset.mems", cpu.mems || undefined);
  }
  for (const { pageSize, limit } of hugepageLimits ?? []) {
    const put = into("hugetlb");
    put(`hugetlb.${pageSize}.max`, plain(limit));
    put(`hugetlb.${pageSize}.rsvd.max`, plain(limit), { optional: true });
  }
  rdmaMax(rdma, into("rdma"));
  return plan;
}

function memoryV2(memory: Memory, put: Put): string[] {
  const limit = (value: number | undefined) => (value ? limitText(value) : undefined);
  const swap = swapMax(memory.swap, memory.limit);
  if (memory.swappiness !== undefined) swappinessText(memory.swappiness);
  // No swap on the machine, no such file: "unlimited" is then what it is anyway, and 0 too.
  put("memory.swap.max", swap, { optional: swap === "max" || swap === "0" });
  put("memory.max", limit(memory.limit));
  put("memory.low", limit(memory.reservation));
  return memory.kernel === undefined && memory.kernelTCP === undefined
    ? []
    : ["Kernel memory settings are ignored and will be removed"];
}

function cpuV2(cpu: Cpu, put: Put): void {
  const { quota = 0, period = 0 } = cpu;
  if (cpu.idle !== undefined) put("cpu.idle", plain(cpu.idle));
  const weight = sharesToWeight(cpu.shares ?? 0);
  put("cpu.weight", weight === 0 ? undefined : String(weight));
  put("cpu.max.burst", cpu.burst === undefined ? undefined : plain(cpu.burst), { again: quota !== 0 });
  if (quota !== 0 || period !== 0) {
    put("cpu.max", `${quota > 0 ? plain(quota) : "max"} ${period === 0 ? 100000 : plain(period)}`);
  }
}

function io(blockIO: BlockIo, put: Put): void {
  const weight = blockIO.weight ?? 0;
  put("io.bfq.weight", set(weight), {
    otherwise: { file: "io.weight", value: String(blkioToIoWeight(weight)) },
  });
  for (const device of blockIO.weightDevice ?? []) {
    // Kernels without BFQ, or with one older than 5.4, have no weight per device.
    if (device.weight)
      put("io.bfq.weight", `${device.major}:${device.minor} ${device.weight}`, { optional: true });
  }
  for (const [, key, list] of THROTTLES(blockIO)) {
    for (const { major, minor, rate } of list ?? []) {
      const value = rate >= NO_RATE ? "max" : plain(rate);
      put("io.max", `${major}:${minor} ${key}=${value}`);
    }
  }
}
