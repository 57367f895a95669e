import type { Command } from "../command.ts";
import { commit, exportContainer, importImage, load, save } from "../commands/archives.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  commit,
  export: exportContainer,
  import: importImage,
  load,
  save,
};
