import { EngineError } from "@longshore/errors";
import type { Resources as LinuxResources } from "@longshore/oci";
import type { Resources } from "../containers/container-config.ts";
import { blockIoOf, checkBlockIo } from "./block-io.ts";
import { checkCpus } from "./cpu-sets.ts";

const CPU_PERIOD_US = 100_000;
const MEMORY_MIN_BYTES = 6 * 1024 * 1024;

/**
 * Check limits, and complete them as Docker does: a memory limit alone allows as much swap again.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function checkResources(resources: Resources): Resources {
  const { Memory, MemorySwap, MemoryReservation, NanoCpus, CpuPeriod, CpuQuota, MemorySwappiness } =
    resources;
  checkLeastMemory(resources);
  if (Memory > 0 && MemorySwap > 0 && MemorySwap < Memory) {
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (Memory === 0 && MemorySwap > 0) {
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (MemoryReservation < 0 || (MemoryReservation > 0 && MemoryReservation < MEMORY_MIN_BYTES)) {
    throw invalid("Minimum memory reservation allowed is 6MB");
  }
  if (Memory > 0 && MemoryReservation > Memory) {
    throw invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  if (MemorySwappiness < -1 || MemorySwappiness > 100) {
    throw invalid(`Invalid value: ${MemorySwappiness}, valid memory swappiness range is 0-100`);
  }
  for (const [what, value] of Object.entries({ Period: CpuPeriod, Quota: CpuQuota })) {
    if (NanoCpus > 0 && value > 0)
      throw invalid(`Conflicting options: Nano CPUs and CPU ${what} cannot both be set`);
  }
  if (NanoCpus < 0) throw invalid("Invalid value for NanoCPUs: must be positive");
  if (CpuPeriod !== 0 && (CpuPeriod < 1000 || CpuPeriod > 1_000_000)) {
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (CpuQuota > 0 && CpuQuota < 1000) throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if (resources.CpuShares < 0) {
    throw invalid(`invalid CPU shares (${resources.CpuShares}): value must be a positive integer`);
  }
  const { CpuRealtimePeriod, CpuRealtimeRuntime } = resources;
  if (CpuRealtimePeriod < 0 || CpuRealtimeRuntime < 0) {
    throw invalid("HostConfig.CpuRealtimePeriod and CpuRealtimeRuntime must not be negative");
  }
  if (CpuRealtimePeriod !== 0 && CpuRealtimeRuntime !== 0 && CpuRealtimeRuntime > CpuRealtimePeriod) {
    throw invalid("cpu real-time runtime cannot be higher than cpu real-time period");
  }
  checkCpus(resources);
  checkBlockIo(resources);
  return { ...resources, MemorySwap: Memory > 0 && MemorySwap === 0 ? Memory * 2 : MemorySwap };
}

/** @throws EngineError `invalid_argument` in Docker's words for less memory than a container can be made with */
export function checkLeastMemory({ Memory }: Resources): void {
  if (Memory !== 0 && Memory < MEMORY_MIN_BYTES) throw invalid("Minimum memory limit allowed is 6MB");
}

/** Limits as the runtime takes them; what isn't set is left out. Memory and swap are bytes, times microseconds. */
export function toLinuxResources(resources: Resources): LinuxResources {
  const memory = compact({
    limit: positive(resources.Memory),
    reservation: positive(resources.MemoryReservation),
    swap: resources.MemorySwap === 0 ? undefined : resources.MemorySwap,
    swappiness: resources.MemorySwappiness < 0 ? undefined : resources.MemorySwappiness,
    disableOOMKiller: resources.OomKillDisable || undefined,
  });
  const byNanoCpus = resources.NanoCpus > 0;
  const cpu = compact({
    shares: positive(resources.CpuShares),
    quota: byNanoCpus
      ? Math.round((resources.NanoCpus * CPU_PERIOD_US) / 1e9)
      : resources.CpuQuota || undefined,
    period: byNanoCpus ? CPU_PERIOD_US : positive(resources.CpuPeriod),
    cpus: resources.CpusetCpus || undefined,
    mems: resources.CpusetMems || undefined,
    realtimePeriod: positive(resources.CpuRealtimePeriod),
    realtimeRuntime: positive(resources.CpuRealtimeRuntime),
  });
  const { PidsLimit } = resources;
  return compact({
    memory,
    cpu,
    pids: PidsLimit === null ? undefined : { limit: PidsLimit > 0 ? PidsLimit : -1 },
    blockIO: blockIoOf(resources),
  });
}

type Compact<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function compact<T extends object>(value: T): Compact<T> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Compact<T>;
}

function positive(value: number): number | undefined {
  return value > 0 ? value : undefined;
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
