import type { Command } from "../command.ts";
import {
  connectNetwork,
  disconnectNetwork,
  listNetworks,
  pruneNetworks,
  removeNetworks,
} from "../commands/network.ts";
import { createNetwork } from "../commands/network-create.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  "network connect": connectNetwork,
  "network create": createNetwork,
  "network disconnect": disconnectNetwork,
  "network ls": listNetworks,
  "network prune": pruneNetworks,
  "network rm": removeNetworks,
};
