import type { Command } from "../command.ts";
import { top } from "../commands/top.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { top };
