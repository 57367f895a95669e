import { errorCode } from "@longshore/errors";
import type { Container } from "../containers/container.ts";
import { hasProcess } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { type CgroupUsage, readMetrics } from "./cgroup-usage.ts";
import { type HostUsage, readHostUsage } from "./host-usage.ts";
import { type InterfaceUsage, readNetworkUsage } from "./network-usage.ts";

const ZERO_TIME = "0001-01-01T00:00:00Z";

/** A container's use of resources at one moment. */
export interface Sample {
  /** RFC 3339 */
  read: string;
  usage: CgroupUsage;
  host: HostUsage;
  /** By interface; none for a container on the host's network. */
  networks: Record<string, InterfaceUsage> | undefined;
}

/** @returns undefined when nothing runs */
export async function takeSample(engine: Engine, container: Container): Promise<Sample | undefined> {
  const { state, hostConfig } = container.record;
  if (!hasProcess(state.status)) return undefined;
  try {
    const { metrics } = await engine.containerd.tasks.metrics({ filters: [`id==${container.id}`] });
    const data = metrics.find(({ id }) => id === container.id)?.data;
    if (!data) return undefined;
    return {
      read: new Date().toISOString(),
      usage: readMetrics(data),
      host: readHostUsage(),
      networks: hostConfig.NetworkMode === "host" ? undefined : readNetworkUsage(state.pid),
    };
  } catch (error) {
    if (errorCode(error) === "not_found") return undefined; // it has just ended
    throw error;
  }
}

/** A sample as the API has it, with the one before it, from which clients tell how busy the processors were. */
export function showSample(
  { record }: Container,
  sample: Sample | undefined,
  before: Sample | undefined,
): string {
  const limit = sample && clamp(sample.usage.memory.limit, sample.host.memoryBytes);
  return bigJson({
    id: record.id,
    name: `/${record.name}`,
    os_type: "linux",
    read: sample?.read ?? ZERO_TIME,
    preread: before?.read ?? ZERO_TIME,
    num_procs: 0,
    pids_stats: sample?.usage.pids_stats ?? {},
    blkio_stats: sample?.usage.blkio_stats ?? NO_BLKIO,
    storage_stats: {},
    cpu_stats: showCpu(sample),
    precpu_stats: showCpu(before),
    memory_stats: sample ? { ...sample.usage.memory, limit } : {},
    ...(sample?.networks && Object.keys(sample.networks).length > 0 && { networks: sample.networks }),
  });
}

const NO_BLKIO = {
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
};

function showCpu(sample: Sample | undefined): object {
  if (!sample) {
    return {
      cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
      throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
    };
  }
  const { usage, host } = sample;
  return {
    cpu_usage: usage.cpu_usage,
    system_cpu_usage: host.cpuNs,
    online_cpus: host.cpus,
    throttling_data: usage.throttling_data,
  };
}

/** A container without a limit may use all that there is. */
function clamp(limit: bigint, memoryBytes: number): bigint {
  const all = BigInt(memoryBytes);
  return limit === 0n || limit > all ? all : limit;
}

/** JSON with numbers of 64 bits in full. */
function bigJson(value: unknown): string {
  const text = JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? `\u0000${member}` : member,
  );
  return text.replaceAll(/"\\u0000(\d+)"/g, "$1");
}
