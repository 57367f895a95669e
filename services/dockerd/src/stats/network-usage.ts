import fs from "node:fs";
import { isErrno } from "@longshore/errors";

/** The columns of /proc/net/dev that the API has, in its names. */
const COLUMNS = {
  rx_bytes: 0,
  rx_packets: 1,
  rx_errors: 2,
  rx_dropped: 3,
  tx_bytes: 8,
  tx_packets: 9,
  tx_errors: 10,
  tx_dropped: 11,
} as const;

export type InterfaceUsage = Record<keyof typeof COLUMNS, number>;

/** What has gone through the network interfaces that a process sees, but for the loopback; undefined when it is gone. */
export function readNetworkUsage(pid: number): Record<string, InterfaceUsage> | undefined {
  try {
    return parseNetDev(fs.readFileSync(`/proc/${pid}/net/dev`, "utf8"));
  } catch (error) {
    if (isErrno(error, "ENOENT", "ESRCH", "EINVAL")) return undefined;
    throw error;
  }
}

export function parseNetDev(text: string): Record<string, InterfaceUsage> {
  const interfaces: Record<string, InterfaceUsage> = {};
  for (const line of text.split("\n")) {
    const [, name, numbers] = /^\s*([^\s:|]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || numbers === undefined || name === "lo") continue;
    const fields = numbers.trim().split(/\s+/).map(Number);
    const counts = Object.entries(COLUMNS).map(([field, index]) => [field, fields[index] ?? 0]);
    interfaces[name] = Object.fromEntries(counts) as InterfaceUsage;
  }
  return interfaces;
}
