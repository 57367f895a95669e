import type { Command } from "../command.ts";
import { rmi } from "../commands/rmi.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { rmi };
