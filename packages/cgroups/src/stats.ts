import { readTextIfExists } from "@longshore/syscalls";
import type { Group } from "./group.ts";

const number = (text: string | undefined) =>
  text === undefined || text.trim() === "max" ? 0 : Number(text.trim());

/** `name value` lines. */
export function parseFlat(text: string | undefined): Record<string, number> {
  const pairs = (text ?? "").split("\n").map((line) => line.split(" "));
  return Object.fromEntries(
    pairs.filter((pair) => pair.length === 2).map(([key = "", value]) => [key, Number(value)]),
  );
}

/** Use of resources in the shape of runc's `events --stats`; nanoseconds and bytes. */
export function containerStats(group: Group) {
  const read = (controller: string, file: string) => {
    const path = group.pathOf(controller);
    return path === undefined ? undefined : readTextIfExists(`${path}/${file}`);
  };
  const pids = { current: number(read("pids", "pids.current")), limit: number(read("pids", "pids.max")) };
  if (group.unified) {
    const cpu = parseFlat(read("cpu", "cpu.stat"));
    const ns = (key: string) => (cpu[key] ?? 0) * 1000;
    const raw = parseFlat(read("memory", "memory.stat"));
    return {
      cpu: {
        usage: { total: ns("usage_usec"), kernel: ns("system_usec"), user: ns("user_usec") },
        throttling: {
          periods: cpu.nr_periods ?? 0,
          throttledPeriods: cpu.nr_throttled ?? 0,
          throttledTime: ns("throttled_usec"),
        },
      },
      memory: {
        cache: raw.file ?? 0,
        usage: {
          limit: number(read("memory", "memory.max")),
          usage: number(read("memory", "memory.current")),
        },
        raw,
      },
      pids,
    };
  }
  const throttling = parseFlat(read("cpu", "cpu.stat"));
  const raw = parseFlat(read("memory", "memory.stat"));
  return {
    cpu: {
      usage: {
        total: number(read("cpuacct", "cpuacct.usage")),
        kernel: number(read("cpuacct", "cpuacct.usage_sys")),
        user: number(read("cpuacct", "cpuacct.usage_user")),
        percpu: (read("cpuacct", "cpuacct.usage_percpu") ?? "").trim().split(" ").filter(Boolean).map(Number),
      },
      throttling: {
        periods: throttling.nr_periods ?? 0,
        throttledPeriods: throttling.nr_throttled ?? 0,
        throttledTime: throttling.throttled_time ?? 0,
      },
    },
    memory: {
      cache: raw.cache ?? 0,
      usage: {
        limit: number(read("memory", "memory.limit_in_bytes")),
        usage: number(read("memory", "memory.usage_in_bytes")),
        max: number(read("memory", "memory.max_usage_in_bytes")),
        failcnt: number(read("memory", "memory.failcnt")),
      },
      raw,
    },
    pids,
  };
}
