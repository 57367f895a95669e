import { type Command, type Globals, idOf, print } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function stateCommand(parsed: Parsed, { root }: Globals): number {
  const container = Container.load(root, idOf(parsed));
  const { saved } = container;
  const { ociVersion, id, pid, status, bundle, annotations } = container.ociState();
  // As the original: some of its own members among those of the specification.
  const extended = {
    ociVersion,
    id,
    pid,
    status,
    bundle,
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
