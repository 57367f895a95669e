import type { BridgeNetwork } from "./bridge-network.ts";
import { PREDEFINED } from "./default-networks.ts";
import type { LinkedNetwork } from "./linked-network.ts";

/** A network that containers have interfaces of. */
export type AttachedNetwork = BridgeNetwork | LinkedNetwork;

export function isBridge(network: AttachedNetwork): network is BridgeNetwork {
  return network.driver === "bridge";
}

/** Networks of users have names. */
export function hasNames({ name }: AttachedNetwork): boolean {
  return !PREDEFINED.includes(name);
}
