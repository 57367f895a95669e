import type { Command } from "../command.ts";
import { kill, pause, rename, restart, rm, stop, unpause, wait } from "../commands/lifecycle.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { kill, pause, rename, restart, rm, stop, unpause, wait };
