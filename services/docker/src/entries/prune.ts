import type { Command } from "../command.ts";
import { pruneContainers, pruneImages } from "../commands/prune.ts";
import { pruneSystem } from "../commands/system-prune.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  "container prune": pruneContainers,
  "image prune": pruneImages,
  "system prune": pruneSystem,
};
