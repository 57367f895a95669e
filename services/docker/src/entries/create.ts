import type { Command } from "../command.ts";
import { create } from "../commands/create.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { create };
