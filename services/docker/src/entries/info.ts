import type { Command } from "../command.ts";
import { info } from "../commands/info.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { info };
