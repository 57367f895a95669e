import type { Command } from "../command.ts";
import { push } from "../commands/push.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { push };
