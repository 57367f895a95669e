import type { Command } from "../command.ts";
import { version } from "../commands/version.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { version };
