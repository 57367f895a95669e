import type { Command } from "../command.ts";
import { login, logout } from "../commands/login.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { login, logout };
