import type { Command } from "../command.ts";
import { run } from "../commands/run.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { run };
