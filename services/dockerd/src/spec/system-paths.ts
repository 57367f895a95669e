import fs from "node:fs";
import type { HostConfig } from "../containers/container-config.ts";

const MASKED_PATHS = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const CPUS = "/sys/devices/system/cpu";

/** The counters of each processor's heat, which tell what else the machine is doing, where it has them. */
export function thermalPaths(cpus: string = CPUS): string[] {
  const names = fs.existsSync(cpus) ? fs.readdirSync(cpus) : [];
  return names
    .filter((name) => /^cpu\d+$/.test(name) && fs.existsSync(`${cpus}/${name}/thermal_throttle`))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((name) => `${CPUS}/${name}/thermal_throttle`);
}

let maskedPaths: readonly string[] | undefined;

/** Docker's default; looked for once. */
function defaultMaskedPaths(): readonly string[] {
  maskedPaths ??= [...MASKED_PATHS, ...thermalPaths()].sort(byName);
  return maskedPaths;
}

function byName(a: string, b: string): number {
  return a < b ? -1 : 1;
}

/** The paths of /proc and /sys that a container doesn't see, and can't write to; all are open to a privileged one. */
export function shownPaths({ Privileged, MaskedPaths, ReadonlyPaths }: HostConfig) {
  if (Privileged) return { MaskedPaths, ReadonlyPaths };
  return {
    MaskedPaths: MaskedPaths ?? [...defaultMaskedPaths()],
    ReadonlyPaths: ReadonlyPaths ?? READONLY_PATHS,
  };
}
