import { type Command, type Globals, idOf, print } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function stateCommand(parsed: Parsed, { root }: Globals): number {
  const container = Container.load(root, idOf(parsed));
  const { saved } = container;
  const state = container.ociState();
  // As the original: some of its own fields among those of the specification.
  const { annotations, ...fields } = state;
  const extended = {
    ...fields,
    rootfs: saved.rootfs,
    created: saved.created,
    ...(annotations ? { annotations } : {}),
    owner: "",
  };
  print(JSON.stringify(extended, null, 2));
  return 0;
}

export const commands: Record<string, Command> = {
  state: { flags: {}, args: [1, 1], usage: "print a container's state", run: stateCommand },
};
