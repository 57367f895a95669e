import type { Command } from "../command.ts";
import {
  inspect,
  inspectContainer,
  inspectImage,
  inspectNetwork,
  inspectVolume,
} from "../commands/inspect.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  inspect,
  "container inspect": inspectContainer,
  "image inspect": inspectImage,
  "network inspect": inspectNetwork,
  "volume inspect": inspectVolume,
};
