import { type Command, idOf } from "../command.ts";
import { CREATE_FLAGS, createFromFlags, wrapped } from "../create-command.ts";

export { runtime } from "../runtime.ts";

export const commands: Record<string, Command> = {
  create: {
    flags: CREATE_FLAGS,
    aliases: { b: "bundle" },
    args: [1, 1],
    usage: "make a container from the bundle in the working directory",
    run: (parsed, globals) => {
      wrapped("create", () => createFromFlags(parsed, globals, { id: idOf(parsed), foreground: undefined }));
      return 0;
    },
  },
};
