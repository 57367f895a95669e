import type { Group } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import { parseResources, type Resources } from "@longshore/oci";
import { fixedBuffer, read, readText, readTextIfExists } from "@longshore/syscalls";
import type { Parsed } from "./flags.ts";

/** Units of memory on the command line: binary, as the original's. */
const UNITS: Record<string, number> = {
  "": 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
};

/** `512m`, `1.5g`, `-1`. */
export function parseBytes(text: string, flag: string): number {
  if (text === "-1") return -1;
  const match = /^(\d+(?:\.\d+)?) ?([bkmgtp]?)(?:i?b)?$/i.exec(text);
  const unit = UNITS[match?.[2]?.toLowerCase() ?? ""];
  if (!match || unit === undefined) {
    throw new EngineError("invalid_argument", `invalid value for ${flag}: invalid size: '${text}'`);
  }
  return Math.floor(Number(match[1]) * unit);
}

function parseNumber(text: string, flag: string): number {
  if (!/^-?\d+$/.test(text)) throw new EngineError("invalid_argument", `invalid value for ${flag}: ${text}`);
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

/** Resources from `--resources FILE` (`-` is standard input), or from the single flags. */
export function requestedResources({ values }: Parsed): Resources {
  const file = values.get("resources");
  if (file !== undefined) return parseResources(file === "-" ? readStdin() : readText(file));
  const number = (flag: string) => {
    const text = values.get(flag);
    return text === undefined ? undefined : parseNumber(text, flag);
  };
  const bytes = (flag: string) => {
    const text = values.get(flag);
    return text === undefined ? undefined : parseBytes(text, flag);
  };
  const given = <T extends object>(fields: T): Partial<T> =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
  const memory = given({
    limit: bytes("memory"),
    reservation: bytes("memory-reservation"),
    swap: bytes("memory-swap"),
  });
  const cpu = given({
    shares: number("cpu-share"),
    quota: number("cpu-quota"),
    period: number("cpu-period"),
    burst: number("cpu-burst"),
    realtimePeriod: number("cpu-rt-period"),
    realtimeRuntime: number("cpu-rt-runtime"),
    idle: number("cpu-idle"),
    cpus: values.get("cpuset-cpus"),
    mems: values.get("cpuset-mems"),
  });
  const pids = number("pids-limit");
  const weight = number("blkio-weight");
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

/** Bring new limits about; what isn't mentioned stays. */
export function updateGroup(group: Group, resources: Resources): void {
  const { memory } = resources;
  if (!memory || group.unified) {
    group.apply(group.unified ? withCurrentLimit(group, resources) : resources);
    return;
  }
  // v1 wants limit ≤ memory+swap at each step: which of the two goes first depends on where they are now.
  const path = group.pathOf("memory");
  const current = Number(readTextIfExists(`${path}/memory.memsw.limit_in_bytes`) ?? Number.POSITIVE_INFINITY);
  const { limit = 0, swap = 0 } = memory;
  const growing = limit === -1 || limit > current;
  if (growing && swap !== 0) {
    group.apply({ memory: { swap } });
    group.apply({ ...resources, memory: { ...memory, swap: 0 } });
  } else {
    group.apply(resources);
  }
}

/** v2's swap is without memory: a new sum needs the limit it is to be taken from. */
function withCurrentLimit(group: Group, resources: Resources): Resources {
  const { memory } = resources;
  if (!memory?.swap || memory.limit) return resources;
  const text = readTextIfExists(`${group.unifiedPath}/memory.max`)?.trim();
  if (text === undefined || text === "max") return resources;
  return { ...resources, memory: { ...memory, limit: Number(text) } };
}
