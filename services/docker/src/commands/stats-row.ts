import type { Column } from "../format/list.ts";
import { binarySize, humanSize } from "../format/units.ts";

interface CpuStats {
  cpu_usage?: { total_usage?: number; percpu_usage?: number[] | null };
  system_cpu_usage?: number;
  online_cpus?: number;
}

interface BlkioEntry {
  op: string;
  value: number;
}

/** What this client reads of a container's statistics. */
export interface StatsAnswer {
  id?: string;
  name?: string;
  cpu_stats?: CpuStats;
  precpu_stats?: CpuStats;
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
  blkio_stats?: { io_service_bytes_recursive?: BlkioEntry[] | null };
  pids_stats?: { current?: number };
}

/** A container's row; without statistics until some have come. */
export interface StatsRow {
  name: string;
  stats: StatsAnswer | undefined;
}

const NONE = "--";

export function statsColumns(trunc: boolean): Record<string, Column<StatsRow>> {
  const known =
    (show: (stats: StatsAnswer) => string) =>
    ({ stats }: StatsRow) =>
      stats?.id ? show(stats) : NONE;
  const pair = (show: (bytes: number) => string, one: number, other: number) =>
    `${show(one)} / ${show(other)}`;
  const decimal = (bytes: number) => humanSize(bytes, 3);
  return {
    BlockIO: {
      header: "BLOCK I/O",
      value: known((s) => pair(decimal, blockBytes(s, "r"), blockBytes(s, "w"))),
    },
    CPUPerc: { header: "CPU %", value: known((s) => percent(cpuPercent(s))) },
    Container: { header: "CONTAINER", value: ({ name }) => name },
    ID: { header: "CONTAINER ID", value: known(({ id = "" }) => (trunc ? id.slice(0, 12) : id)) },
    MemPerc: { header: "MEM %", value: known((s) => percent(memoryPercent(s))) },
    MemUsage: {
      header: "MEM USAGE / LIMIT",
      value: known((s) => pair(binarySize, memoryBytes(s), s.memory_stats?.limit ?? 0)),
    },
    Name: { header: "NAME", value: known(({ name = "" }) => name.replace(/^\//, "")) },
    NetIO: {
      header: "NET I/O",
      value: known((s) => pair(decimal, networkBytes(s, "rx_bytes"), networkBytes(s, "tx_bytes"))),
    },
    PIDs: { header: "PIDS", value: known((s) => String(s.pids_stats?.current ?? 0)) },
  };
}

/** Of one processor: two that are busy are 200 %. */
export function cpuPercent({ cpu_stats: now = {}, precpu_stats: before = {} }: StatsAnswer): number {
  const used = (now.cpu_usage?.total_usage ?? 0) - (before.cpu_usage?.total_usage ?? 0);
  const passed = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const cpus = now.online_cpus || now.cpu_usage?.percpu_usage?.length || 0;
  return used > 0 && passed > 0 ? (used / passed) * cpus * 100 : 0;
}

/** Without what the kernel only keeps as long as nobody else wants the memory. */
export function memoryBytes({ memory_stats: { usage = 0, stats = {} } = {} }: StatsAnswer): number {
  const cache = stats.total_inactive_file ?? stats.inactive_file ?? 0;
  return cache < usage ? usage - cache : usage;
}

function memoryPercent(stats: StatsAnswer): number {
  const limit = stats.memory_stats?.limit ?? 0;
  return limit > 0 ? (memoryBytes(stats) / limit) * 100 : 0;
}

function blockBytes({ blkio_stats }: StatsAnswer, operation: "r" | "w"): number {
  const entries = blkio_stats?.io_service_bytes_recursive ?? [];
  return entries
    .filter(({ op }) => op.toLowerCase().startsWith(operation))
    .reduce((sum, { value }) => sum + value, 0);
}

function networkBytes({ networks = {} }: StatsAnswer, field: "rx_bytes" | "tx_bytes"): number {
  return Object.values(networks).reduce((sum, one) => sum + one[field], 0);
}

function percent(value: number): string {
  return `${value.toFixed(2)}%`;
}
