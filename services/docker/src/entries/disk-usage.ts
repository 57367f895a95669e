import type { Command } from "../command.ts";
import { diskUsage } from "../commands/disk-usage.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { "system df": diskUsage };
