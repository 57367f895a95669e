import { type Command, idOf } from "../command.ts";
import { containerFor } from "../lifecycle.ts";

export { runtime } from "../runtime.ts";

export const commands: Record<string, Command> = {
  pause: {
    flags: {},
    args: [1, 1],
    usage: "freeze all processes of a container",
    run: (parsed, { root }) => {
      containerFor("pause", root, idOf(parsed)).group.freeze(true);
      return 0;
    },
  },
  resume: {
    flags: {},
    args: [1, 1],
    usage: "let a paused container go on",
    run: (parsed, { root }) => {
      containerFor("resume", root, idOf(parsed)).group.freeze(false);
      return 0;
    },
  },
};
