import { EngineError } from "@longshore/errors";
import { type Command, idOf } from "../command.ts";
import { deleteContainer } from "../lifecycle.ts";

export { runtime } from "../runtime.ts";

export const commands: Record<string, Command> = {
  delete: {
    flags: { force: "switch" },
    aliases: { f: "force" },
    args: [1, 1],
    usage: "remove a stopped container, with --force any",
    run: (parsed, { root }) => {
      const force = parsed.switches.has("force");
      try {
        deleteContainer(root, idOf(parsed), force);
      } catch (error) {
        if (!(force && error instanceof EngineError && error.code === "not_found")) throw error;
      }
      return 0;
    },
  },
};
