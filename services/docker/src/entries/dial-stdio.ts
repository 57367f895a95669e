import type { Command } from "../command.ts";
import { dialStdio } from "../commands/dial-stdio.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { "system dial-stdio": dialStdio };
