import { hasNames } from "./attached-network.ts";
import { inNetns } from "./netns.ts";
import { type NetworkState, placedOf } from "./network-state.ts";

/** Answer a sandbox that is on a network of a user's for names, in its own namespace; others are not, or no longer. */
export async function serveNames(state: NetworkState, sandboxId: string): Promise<void> {
  const { names, files, options } = state;
  if (!placedOf(state, sandboxId).some(({ network }) => hasNames(network))) {
    names.end(sandboxId);
    return;
  }
  try {
    await names.serve(sandboxId, (work) => files.within(sandboxId, ({ fd }) => inNetns(fd, work)));
  } catch (error) {
    options.log.warn({ sandboxId, err: error }, "a container has no resolver");
  }
}
