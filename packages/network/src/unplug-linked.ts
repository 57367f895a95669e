import type { NetworkState } from "./network-state.ts";
import { unplug } from "./sandbox-builder.ts";

/**
 * Take away those interfaces of a sandbox that have no end on the host, before it is let go: a process may still be in it, and when there is
 * none the kernel takes its time, in which nobody else could have their MAC addresses.
 */
export function unplugLinked({ route, files, endpoints, options }: NetworkState, sandboxId: string): void {
  const linked = endpoints.ofSandbox(sandboxId).filter(({ link }) => link === "");
  if (linked.length === 0) return;
  try {
    files.within(sandboxId, (netns) => {
      for (const endpoint of linked) unplug(route, netns, endpoint);
    });
  } catch (error) {
    // The file of one that is half-made leads nowhere.
    options.log.debug({ sandboxId, err: error }, "interfaces in a dead sandbox");
  }
}
