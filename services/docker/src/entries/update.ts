import type { Command } from "../command.ts";
import { update } from "../commands/update.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { update };
