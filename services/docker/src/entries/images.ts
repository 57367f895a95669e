import type { Command } from "../command.ts";
import { images } from "../commands/images.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { images };
