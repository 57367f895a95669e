import { PR_SET_CHILD_SUBREAPER, prctl } from "@longshore/syscalls";
import { type Command, type Globals, idOf } from "../command.ts";
import { CREATE_FLAGS, createFromFlags, wrapped } from "../create-command.ts";
import type { Parsed } from "../flags.ts";
import { Attachment } from "../foreground.ts";
import { deleteContainer, startContainer } from "../lifecycle.ts";

export { runtime } from "../runtime.ts";

function run(parsed: Parsed, globals: Globals): number {
  const id = idOf(parsed);
  if (!parsed.switches.has("no-subreaper")) prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (parsed.switches.has("detach")) {
    wrapped("run", () => createFromFlags(parsed, globals, { id, foreground: undefined }));
    startOrDelete(globals, id);
    return 0;
  }
  const keep = parsed.switches.has("keep");
  using attachment = new Attachment();
  const pid = wrapped("run", () => createFromFlags(parsed, globals, { id, foreground: attachment }));
  let status: number;
  try {
    attachment.started();
    startContainer(globals.root, id);
    status = attachment.wait(pid);
  } catch (error) {
    deleteContainer(globals.root, id, true);
    throw error;
  }
  if (!keep) deleteContainer(globals.root, id, true);
  return status;
}

function startOrDelete({ root }: Globals, id: string): void {
  try {
    startContainer(root, id);
  } catch (error) {
    deleteContainer(root, id, true);
    throw error;
  }
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
