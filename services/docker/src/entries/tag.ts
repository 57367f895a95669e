import type { Command } from "../command.ts";
import { tag } from "../commands/tag.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { tag };
