import type { Command } from "../command.ts";
import { pull } from "../commands/pull.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { pull };
