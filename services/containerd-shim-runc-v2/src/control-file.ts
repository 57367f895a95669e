import { readTextIfExists } from "@longshore/syscalls";

const LARGEST = 2n ** 64n - 1n;

/** A control file with one number; `max` is the largest 64-bit one. Zero when the kernel doesn't have the file. */
export function readNumber(path: string): bigint {
  return toNumber(readTextIfExists(path)?.trim() ?? "");
}

/** A control file of `key number` lines; keys that are missing read as zero. */
export function readKeyed(path: string): (key: string) => bigint {
  const values = new Map<string, bigint>();
  for (const line of (readTextIfExists(path) ?? "").split("\n")) {
    const [key = "", value = ""] = line.split(" ");
    values.set(key, toNumber(value));
  }
  return (key) => values.get(key) ?? 0n;
}

export function readLines(path: string): string[] {
  return (readTextIfExists(path) ?? "").split("\n").filter(Boolean);
}

function toNumber(text: string): bigint {
  if (text === "max") return LARGEST;
  return /^\d+$/.test(text) ? BigInt(text) : 0n;
}
