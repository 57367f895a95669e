import { EngineError } from "@longshore/errors";
import { type Command, MANY } from "../command.ts";

export { runtime } from "../runtime.ts";

const refused = (name: string): Command => ({
  flags: {},
  args: [0, MANY],
  usage: "not supported: needs criu",
  run: () => {
    throw new EngineError("unimplemented", `${name} is not supported`);
  },
});

export const commands: Record<string, Command> = {
  checkpoint: refused("checkpoint"),
  restore: refused("restore"),
};
