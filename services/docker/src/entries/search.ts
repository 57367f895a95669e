import type { Command } from "../command.ts";
import { search } from "../commands/search.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { search };
