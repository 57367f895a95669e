import type { Command } from "../command.ts";
import { history } from "../commands/history.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { history };
