import type { Command } from "../command.ts";
import { attach } from "../commands/attach.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { attach };
