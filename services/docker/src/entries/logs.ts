import type { Command } from "../command.ts";
import { logs } from "../commands/logs.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { logs };
