import { type Command, idOf } from "../command.ts";
import { startContainer } from "../lifecycle.ts";

export { runtime } from "../runtime.ts";

export const commands: Record<string, Command> = {
  start: {
    flags: {},
    args: [1, 1],
    usage: "let a created container's process run",
    run: (parsed, { root }) => {
      startContainer(root, idOf(parsed));
      return 0;
    },
  },
};
