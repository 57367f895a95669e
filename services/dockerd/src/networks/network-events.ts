import type { Endpoint } from "@longshore/network";
import type { Engine } from "../engine.ts";

/** Tell that a container is on a network, or off it. */
export function tellNetworkEvent(
  engine: Engine,
  action: "connect" | "disconnect",
  { networkId, networkName: name, driver }: Pick<Endpoint, "networkId" | "networkName"> & { driver?: string },
  container: string,
): void {
  engine.events.emit("network", action, networkId, { container, name, type: driver ?? "bridge" });
}
