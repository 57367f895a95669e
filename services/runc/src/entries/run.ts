import { type Command, type Globals, idOf } from "../command.ts";
import { CREATE_FLAGS, createFromFlags, wrapped } from "../create-command.ts";
import type { Parsed } from "../flags.ts";
import { waitInForeground } from "../foreground.ts";
import { deleteContainer, startContainer } from "../lifecycle.ts";

export { runtime } from "../runtime.ts";

async function run(parsed: Parsed, globals: Globals): Promise<number> {
  const id = idOf(parsed);
  const detach = parsed.switches.has("detach");
  const pid = wrapped("run", () => createFromFlags(parsed, globals, id));
  if (detach) {
    startContainer(globals.root, id);
    return 0;
  }
  const exit = waitInForeground(pid);
  startContainer(globals.root, id);
  const status = await exit;
  if (!parsed.switches.has("keep")) deleteContainer(globals.root, id, true);
  return status;
}

export const commands: Record<string, Command> = {
  run: {
    flags: { ...CREATE_FLAGS, detach: "switch", keep: "switch", "no-subreaper": "switch" },
    aliases: { b: "bundle", d: "detach" },
    args: [1, 1],
    usage: "create and start",
    run,
  },
};
