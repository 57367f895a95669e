import type { Command } from "../command.ts";
import { cp } from "../commands/cp.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { cp };
