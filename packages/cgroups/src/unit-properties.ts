import { EngineError } from "@longshore/errors";
import type { Resources } from "@longshore/oci";
import { sharesToWeight, swapMax } from "./convert.ts";
import type { Value, Variant } from "./dbus-message.ts";
import { accessText, devicePolicy } from "./device-rules.ts";

// Properties of systemd's units (systemd.resource-control(5), org.freedesktop.systemd1(5)).

export type Property = [name: string, value: Variant];

/** Limits of no end, as systemd counts. */
const INFINITY = 2n ** 64n - 1n;

export const property = (name: string, signature: string, value: Value): Property => [
  name,
  { signature, value },
];

const uint64 = (value: number) => (value < 0 ? INFINITY : BigInt(value));

/** Limits in systemd's properties; it has none for many of them. */
export function unitProperties(resources: Resources, unified: boolean): Property[] {
  const { memory, cpu, pids, blockIO, devices = [] } = resources;
  const properties: Property[] = [];
  const put = (name: string, value: bigint | undefined) => {
    if (value !== undefined) properties.push(property(name, "t", value));
  };
  const set = (value: number | undefined) => (value ? uint64(value) : undefined);
  if (memory) {
    put(unified ? "MemoryMax" : "MemoryLimit", set(memory.limit));
    const swap = unified ? swapMax(memory.swap, memory.limit) : undefined;
    if (unified) put("MemoryLow", set(memory.reservation));
    if (swap !== undefined) put("MemorySwapMax", swap === "max" ? INFINITY : BigInt(swap));
  }
  if (cpu) {
    const { quota = 0, period = 0, shares = 0 } = cpu;
    if (unified) put("CPUWeight", cpu.idle === 1 ? 0n : set(sharesToWeight(shares)));
    else put("CPUShares", set(shares));
    put("CPUQuotaPeriodUSec", set(period));
    if (quota !== 0 || period !== 0) put("CPUQuotaPerSecUSec", quotaPerSecond(quota, period || 100_000));
    if (cpu.cpus) properties.push(property("AllowedCPUs", "ay", rangeBits(cpu.cpus)));
    if (cpu.mems) properties.push(property("AllowedMemoryNodes", "ay", rangeBits(cpu.mems)));
  }
  // It takes no limit of none.
  if (pids?.limit !== undefined) put("TasksMax", pids.limit === 0 ? 1n : uint64(pids.limit));
  if (!unified) put("BlockIOWeight", set(blockIO?.weight));
  if (devices.length > 0) properties.push(...deviceProperties(resources));
  return properties;
}

/** In steps of a hundredth of a processor, upwards, so that the quota itself still fits. */
function quotaPerSecond(quota: number, period: number): bigint {
  if (quota <= 0) return INFINITY;
  return BigInt(Math.ceil((quota * 1_000_000) / period / 10_000) * 10_000);
}

/** `0-2,7` as a set of bits, lowest first. */
export function rangeBits(text: string): number[] {
  const bytes: number[] = [];
  for (const part of text.split(",").filter(Boolean)) {
    const [from = "", to = from] = part.trim().split("-");
    if (!/^\d+$/.test(from) || !/^\d+$/.test(to) || Number(to) < Number(from)) {
      throw new EngineError("invalid_argument", `invalid range: ${part}`);
    }
    for (let bit = Number(from); bit <= Number(to); bit++) {
      while (bytes.length <= bit >> 3) bytes.push(0);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7));
    }
  }
  return bytes;
}

function deviceProperties({ devices = [] }: Resources): Property[] {
  const { allow, exceptions } = devicePolicy(devices);
  // systemd knows no list of what is denied: our own rules in the cgroup see to that.
  if (allow) return [property("DevicePolicy", "s", "auto"), property("DeviceAllow", "a(ss)", [])];
  const entries = exceptions.map(({ type, major, minor, access }): Value => {
    const kind = type === "b" ? "block" : "char";
    const one = major >= 0 && minor >= 0;
    const device = one ? `/dev/${kind}/${major}:${minor}` : `${kind}-${major < 0 ? "*" : major}`;
    return [device, accessText(access)];
  });
  return [property("DevicePolicy", "s", "strict"), property("DeviceAllow", "a(ss)", entries)];
}

/**
 * Properties of a unit from annotations `org.systemd.property.NAME`, whose values are in the text form of GVariant: numbers, strings
 * in quotes, true, false, `uint64 5`, lists of strings.
 */
export function annotatedProperties(annotations: Readonly<Record<string, string>>): Property[] {
  const prefix = "org.systemd.property.";
  const properties: Property[] = [];
  for (const [key, text] of Object.entries(annotations)) {
    if (!key.startsWith(prefix)) continue;
    const name = key.slice(prefix.length);
    if (name.length < 3 || !/^[A-Za-z]+$/.test(name)) {
      const why = name.length < 3 ? "too short" : "contains non-alphabetic character";
      throw new EngineError("invalid_argument", `annotation ${key} name incorrect: ${why}`);
    }
    const value = parseVariant(text.trim());
    if (value === undefined) {
      throw new EngineError("invalid_argument", `annotation ${key}=${text} value parse error`);
    }
    properties.push(inMicroseconds(name, value));
  }
  return properties;
}

/** What files of units call `…Sec` is `…USec` on the bus. */
function inMicroseconds(name: string, value: Variant): Property {
  if (!/[a-z]Sec$/.test(name) || !"iutx".includes(value.signature)) return [name, value];
  return property(name.replace(/Sec$/, "USec"), "t", BigInt(value.value as bigint) * 1_000_000n);
}

function parseVariant(text: string): Variant | undefined {
  if (text === "true" || text === "false") return { signature: "b", value: text === "true" };
  const quoted = /^'([^']*)'$|^"([^"]*)"$/.exec(text);
  if (quoted) return { signature: "s", value: quoted[1] ?? quoted[2] ?? "" };
  const list = /^\[(.*)\]$/.exec(text);
  if (list) {
    const items = (list[1] ?? "").split(",").map((item) => parseVariant(item.trim()));
    if (items.some((item) => item?.signature !== "s")) return undefined;
    return { signature: "as", value: items.map((item) => item?.value ?? "") };
  }
  const number = /^(?:(uint32|int32|uint64|int64) )?(-?\d+)$/.exec(text);
  if (!number) return undefined;
  const [, type = "int32", digits = ""] = number;
  const signature = { uint32: "u", int32: "i", uint64: "t", int64: "x" }[type] ?? "i";
  return { signature, value: signature === "t" || signature === "x" ? BigInt(digits) : Number(digits) };
}
