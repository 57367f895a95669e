import type { Command } from "../command.ts";
import { pruneContainers, pruneImages } from "../commands/prune.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  "container prune": pruneContainers,
  "image prune": pruneImages,
};
