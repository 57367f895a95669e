import { networkName } from "../networks/network-mode.ts";
import type { ContainerRecord } from "./container.ts";

/** Fields that records have had, and those that older ones lack. */
type StoredRecord = Omit<ContainerRecord, "mounts" | "networks" | "endpoints" | "ports"> &
  Partial<Pick<ContainerRecord, "mounts" | "networks" | "endpoints" | "ports">> & {
    /** Of the one network that a container could be on. */
    aliases?: string[];
    macAddress?: string;
  };

/** A record as an older engine may have stored it, as it is now. */
export function upgradeRecord(stored: StoredRecord): ContainerRecord {
  const { aliases = [], macAddress = "", ...record } = stored;
  const name = networkName(record);
  const onlyNetwork = ["none", "host"].includes(name) ? [] : [{ name, aliases, ipAddress: "", macAddress }];
  const { mounts = [], networks = onlyNetwork, endpoints = [], ports = [] } = record;
  return { ...record, mounts, networks, endpoints, ports };
}
