import type { Command } from "../command.ts";
import { createVolume, listVolumes, pruneVolumes, removeVolumes } from "../commands/volume.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  "volume create": createVolume,
  "volume ls": listVolumes,
  "volume prune": pruneVolumes,
  "volume rm": removeVolumes,
};
