import type { Command } from "../command.ts";
import { diff } from "../commands/diff.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { diff };
