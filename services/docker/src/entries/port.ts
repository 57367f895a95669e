import type { Command } from "../command.ts";
import { port } from "../commands/port.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { port };
