import { watchNftables } from "@longshore/netlink";
import { allPorts, type NetworkState } from "./network-state.ts";
import { ensureNetworks, foreignBridges, raiseNetworks } from "./raise-networks.ts";

/** What others do to nftables mostly takes several transactions; and two that undo each other's work are not to spin. */
const SETTLE_MS = 10;
const PAUSE_MS = 1000;

/**
 * See to it that what others do to nftables, such as flushing all of it, leaves ours as it was, and that a real Docker which comes after us
 * lets our traffic pass.
 */
export async function watchFirewall(state: NetworkState): Promise<Disposable> {
  const { firewall, options } = state;
  const { bridge, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let mayRunAt = 0;
  const check = () => {
    timer = undefined;
    mayRunAt = Date.now() + PAUSE_MS;
    try {
      if (!firewall.isWhole(allPorts(state))) {
        log.warn({ bridge }, "others have changed our firewall rules, they are made anew");
        raiseNetworks(state);
      } else if (!firewall.keepsFrom(foreignBridges(state))) raiseNetworks(state);
      else ensureNetworks(state);
    } catch (error) {
      log.error({ bridge, err: error }, "firewall rules that others have changed");
    }
  };
  const watch = await watchNftables((changes) => {
    if (changes && !changes.some((change) => firewall.isConcernedBy(change))) return;
    timer ??= setTimeout(check, Math.max(SETTLE_MS, mayRunAt - Date.now()));
  });
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      watch[Symbol.dispose]();
    },
  };
}
