import type { Command } from "../command.ts";
import { exec } from "../commands/exec.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { exec };
