import type { Command } from "../command.ts";
import {
  createContext,
  inspectContexts,
  listContexts,
  removeContexts,
  showContext,
  updateContext,
  useContext,
} from "../commands/context.ts";

import { exportContext, importContext } from "../commands/context-archive.ts";

export { cli } from "../cli.ts";

export const commands: Record<string, Command> = {
  "context create": createContext,
  "context export": exportContext,
  "context import": importContext,
  "context inspect": inspectContexts,
  "context ls": listContexts,
  "context rm": removeContexts,
  "context show": showContext,
  "context update": updateContext,
  "context use": useContext,
};
