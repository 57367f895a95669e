import type { Command } from "../command.ts";
import { ps } from "../commands/ps.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { ps };
