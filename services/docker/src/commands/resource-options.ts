import { checkInteger } from "../flags.ts";
import { parseMemory } from "../format/units.ts";
import type { HostFlag } from "./host-flag.ts";

const text = (values: readonly string[]) => values.at(-1) ?? "";
const integer = (values: readonly string[]) => Number(text(values));
const map = (values: readonly string[]) =>
  Object.fromEntries(
    values.map((value) => {
      const at = value.indexOf("=");
      return at < 0 ? [value, ""] : [value.slice(0, at), value.slice(at + 1)];
    }),
  );

/** A flag with a whole number. */
function number(name: string, field: string, help: string): HostFlag {
  return { name, kind: "string", value: "int", field, convert: integer, check: checkInteger, help };
}

function throttle(name: string, field: string, help: string, parse: (value: string) => object): HostFlag {
  return {
    ...{ name, kind: "list", value: "list", field, help },
    convert: (values) => values.map(parse),
    check: (value) => void parse(value),
  };
}

/** Flags about what a container may use of its host, beyond memory and CPUs. */
export const RESOURCE_FLAGS: readonly HostFlag[] = [
  {
    name: "annotation",
    kind: "list",
    field: "Annotations",
    convert: map,
    help: "Add an annotation to the container",
  },
  number("blkio-weight", "BlkioWeight", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
  throttle("blkio-weight-device", "BlkioWeightDevice", "Block IO weight (relative device weight)", weight),
  {
    name: "cgroup-parent",
    kind: "string",
    field: "CgroupParent",
    convert: text,
    help: "Optional parent cgroup for the container",
  },
  number("cpu-rt-period", "CpuRealtimePeriod", "Limit CPU real-time period in microseconds"),
  number("cpu-rt-runtime", "CpuRealtimeRuntime", "Limit CPU real-time runtime in microseconds"),
  throttle(
    "device-read-bps",
    "BlkioDeviceReadBps",
    "Limit read rate (bytes per second) from a device",
    bytesRate,
  ),
  throttle(
    "device-read-iops",
    "BlkioDeviceReadIOps",
    "Limit read rate (IO per second) from a device",
    countRate,
  ),
  throttle(
    "device-write-bps",
    "BlkioDeviceWriteBps",
    "Limit write rate (bytes per second) to a device",
    bytesRate,
  ),
  throttle(
    "device-write-iops",
    "BlkioDeviceWriteIOps",
    "Limit write rate (IO per second) to a device",
    countRate,
  ),
  {
    name: "gpus",
    kind: "list",
    field: "DeviceRequests",
    convert: (values) => values.map(gpuRequest),
    check: (value) => void gpuRequest(value),
    help: "GPU devices to add to the container ('all' to pass all GPUs)",
  },
  {
    name: "isolation",
    kind: "string",
    field: "Isolation",
    convert: text,
    help: "Container isolation technology",
  },
  {
    name: "kernel-memory",
    kind: "string",
    value: "bytes",
    field: "KernelMemory",
    convert: (values) => parseMemory(text(values)),
    check: (value) => void parseMemory(value),
    help: "Kernel memory limit",
  },
  {
    name: "link",
    kind: "list",
    field: "Links",
    convert: (v) => [...v],
    help: "Add link to another container",
  },
  number("memory-swappiness", "MemorySwappiness", "Tune container memory swappiness (0 to 100) (default -1)"),
  {
    name: "oom-kill-disable",
    kind: "bool",
    field: "OomKillDisable",
    convert: (values) => text(values) === "true",
    help: "Disable OOM Killer",
  },
  {
    name: "storage-opt",
    kind: "list",
    field: "StorageOpt",
    convert: map,
    help: "Storage driver options for the container",
  },
  { name: "userns", kind: "string", field: "UsernsMode", convert: text, help: "User namespace to use" },
];

function weight(value: string): { Path: string; Weight: number } {
  const [Path, rest] = deviceAnd(value);
  const Weight = Number(rest);
  if (!/^\d+$/.test(rest) || (Weight > 0 && (Weight < 10 || Weight > 1000))) {
    throw new Error(`invalid weight for device: ${value}`);
  }
  return { Path, Weight };
}

function bytesRate(value: string): { Path: string; Rate: number } {
  const [Path, rest] = deviceAnd(value);
  try {
    return { Path, Rate: parseMemory(rest) };
  } catch {
    throw new Error(
      `invalid rate for device: ${value}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb`,
    );
  }
}

function countRate(value: string): { Path: string; Rate: number } {
  const [Path, rest] = deviceAnd(value);
  if (!/^\d+$/.test(rest)) {
    throw new Error(
      `invalid rate for device: ${value}. The correct format is <device-path>:<number>. Number must be a positive integer`,
    );
  }
  return { Path, Rate: Number(rest) };
}

function deviceAnd(value: string): [path: string, rest: string] {
  const at = value.indexOf(":");
  const [path, rest] = [value.slice(0, Math.max(at, 0)), value.slice(at + 1)];
  if (path === "" || rest.includes(":")) throw new Error(`bad format: ${value}`);
  if (!path.startsWith("/dev/")) throw new Error(`bad format for device path: ${value}`);
  return [path, rest];
}

/** `all`, a number, or `count=…,driver=…,device=…,capabilities=…,options=…`; values with commas stand in quotes. */
function gpuRequest(value: string): object {
  const fields = [...value.matchAll(/"([^"]*)"|([^,]+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
  const request: { Driver: string; Count: number; DeviceIDs: string[] | null; Options: object } = {
    ...{ Driver: "", Count: 0, DeviceIDs: null, Options: {} },
  };
  const capabilities = ["gpu"];
  const seen = new Set<string>();
  for (const field of fields) {
    const at = field.indexOf("=");
    const [key, given] = at < 0 ? ["count", field] : [field.slice(0, at), field.slice(at + 1)];
    if (seen.has(key)) throw new Error(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
    if (key === "count") request.Count = countOf(given);
    else if (key === "driver") request.Driver = given;
    else if (key === "device") request.DeviceIDs = given.split(",");
    else if (key === "capabilities") capabilities.push(...given.split(","));
    else if (key === "options") request.Options = map(given.split(","));
    else throw new Error(`unexpected key '${key}' in '${field}'`);
  }
  if (request.Count === 0 && request.DeviceIDs === null) request.Count = 1;
  return { ...request, Capabilities: [capabilities] };
}

function countOf(text: string): number {
  if (text === "all") return -1;
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new Error(`invalid count (${text}): value must be either "all" or an integer`);
}
