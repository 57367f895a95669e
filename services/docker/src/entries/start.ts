import type { Command } from "../command.ts";
import { start } from "../commands/start.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { start };
