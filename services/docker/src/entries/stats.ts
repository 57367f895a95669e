import type { Command } from "../command.ts";
import { stats } from "../commands/stats.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { stats };
