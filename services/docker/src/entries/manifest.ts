import type { Command } from "../command.ts";
import { inspectManifest } from "../commands/manifest.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = { "manifest inspect": inspectManifest };
