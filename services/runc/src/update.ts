import { applyResources, type Group } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import { type Memory, parseResources, type Resources } from "@longshore/oci";
import { fixedBuffer, read, readText, readTextIfExists } from "@longshore/syscalls";
import type { Parsed } from "./flags.ts";
import { systemd } from "./load.ts";

/** Units of memory on the command line: binary, as the original's. */
function unitOf(letter: string): number | undefined {
  const power = ["", "k", "m", "g", "t", "p"].indexOf(letter === "b" ? "" : letter);
  return power < 0 ? undefined : 1024 ** power;
}

/** `512m`, `1.5g`, `-1`. */
export function parseBytes(text: string, flag: string): number {
  if (text === "-1") return -1;
  const match = /^(\d+(?:\.\d+)?) ?([bkmgtp]?)(?:i?b)?$/i.exec(text);
  const unit = unitOf(match?.[2]?.toLowerCase() ?? "");
  if (!match || unit === undefined) {
    throw new EngineError("invalid_argument", `invalid value for ${flag}: invalid size: '${text}'`);
  }
  return Math.floor(Number(match[1]) * unit);
}

/** A number of the command line, and what Go says where it is none. */
function parseNumber(text: string, flag: string, { signed }: { signed: boolean }): number {
  if (!/^[+-]?\d+$/.test(text) || (!signed && !/^\d/.test(text))) {
    const parser = signed ? "ParseInt" : "ParseUint";
    throw new EngineError(
      "invalid_argument",
      `invalid value for ${flag}: strconv.${parser}: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  return Number(text);
}

function readStdin(): string {
  const parts: Buffer[] = [];
  for (;;) {
    const buffer = fixedBuffer(65536);
    const length = read(0, buffer);
    if (length === 0) return Buffer.concat(parts).toString();
    parts.push(buffer.subarray(0, length));
  }
}

const given = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;

/** Resources from `--resources FILE` (`-` is standard input), or from the single flags. */
export function requestedResources({ values }: Parsed): Resources {
  const file = values.get("resources");
  if (file) {
    // Device rules of a running container are left alone, as the original leaves them.
    const { devices: _, ...resources } = parseResources(file === "-" ? readStdin() : readText(file));
    return resources;
  }
  // An empty value is none.
  const of = (flag: string, parse: (text: string, flag: string) => number) => {
    const text = values.get(flag);
    return text ? parse(text, flag) : undefined;
  };
  const signed = (text: string, flag: string) => parseNumber(text, flag, { signed: true });
  const unsigned = (text: string, flag: string) => parseNumber(text, flag, { signed: false });
  const memory = given({
    limit: of("memory", parseBytes),
    reservation: of("memory-reservation", parseBytes),
    swap: of("memory-swap", parseBytes),
    kernel: of("kernel-memory", parseBytes),
    kernelTCP: of("kernel-memory-tcp", parseBytes),
  });
  const cpu = given({
    shares: of("cpu-share", unsigned),
    quota: of("cpu-quota", signed),
    period: of("cpu-period", unsigned),
    burst: of("cpu-burst", unsigned),
    realtimePeriod: of("cpu-rt-period", unsigned),
    realtimeRuntime: of("cpu-rt-runtime", signed),
    idle: of("cpu-idle", signed),
    cpus: values.get("cpuset-cpus") || undefined,
    mems: values.get("cpuset-mems") || undefined,
  });
  const pids = of("pids-limit", Number);
  const weight = of("blkio-weight", Number);
  // Through the same check as a file's.
  return parseResources(
    JSON.stringify({
      memory,
      cpu,
      ...(pids === undefined ? {} : { pids: { limit: pids } }),
      ...(weight === undefined ? {} : { blockIO: { weight } }),
    }),
  );
}

/**
 * Bring new limits about; what isn't mentioned stays.
 *
 * @returns what was left alone, in words for the log
 */
export function updateGroup(group: Group, resources: Resources): string[] {
  const limits = group.unified ? completed(group, resources) : resources;
  if (group.unit !== undefined) systemd().setUnitLimits(group, limits);
  return applyResources(group, limits);
}

/** In v2 one file holds two of the specification's values: the one that isn't given is the one in force. */
function completed(group: Group, resources: Resources): Resources {
  const { memory, cpu } = resources;
  const file = (name: string) => readTextIfExists(`${group.unifiedPath}/${name}`)?.trim() ?? "max";
  const next: Resources = { ...resources };
  if (cpu && !cpu.quota !== !cpu.period) {
    const [quota = "max", period = "100000"] = file("cpu.max").split(" ");
    next.cpu = {
      ...cpu,
      quota: cpu.quota || (quota === "max" ? -1 : Number(quota)),
      period: cpu.period || Number(period),
    };
  }
  if (memory) next.memory = completedMemory(memory, file);
  return next;
}

function completedMemory(memory: Memory, file: (name: string) => string): Memory {
  const { limit = 0, swap = 0 } = memory;
  const [currentLimit, currentSwap] = [file("memory.max"), file("memory.swap.max")];
  if (swap > 0 && limit === 0 && currentLimit !== "max") return { ...memory, limit: Number(currentLimit) };
  // A sum of memory and swap that was set once stays in force.
  if (limit > 0 && swap === 0 && currentLimit !== "max" && currentSwap !== "max") {
    return { ...memory, swap: Number(currentLimit) + Number(currentSwap) };
  }
  return memory;
}
