import fs from "node:fs";

/** Nanoseconds in a tick of the kernel's user-space clock (USER_HZ is 100). */
const NS_PER_TICK = 10_000_000;

/** What all processors of the machine have done so far, and what its memory is. */
export interface HostUsage {
  /** Nanoseconds of all processors together, idle ones included. */
  cpuNs: number;
  cpus: number;
  memoryBytes: number;
}

export function readHostUsage(): HostUsage {
  return {
    ...parseStat(fs.readFileSync("/proc/stat", "utf8")),
    memoryBytes:
      Number(/^MemTotal:\s+(\d+) kB/m.exec(fs.readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) * 1024,
  };
}

/** @see proc_stat(5); the times of guests are in those of users already */
export function parseStat(text: string): { cpuNs: number; cpus: number } {
  const fields = /^cpu +(.*)$/m.exec(text)?.[1]?.split(" ").slice(0, 7) ?? [];
  return {
    cpuNs: fields.reduce((sum, ticks) => sum + Number(ticks), 0) * NS_PER_TICK,
    cpus: text.match(/^cpu\d+ /gm)?.length ?? 0,
  };
}
