import type { Command } from "../command.ts";
import { events } from "../commands/events.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { events };
