import { EngineError } from "@longshore/errors";
import { networkFacts, plainFacts } from "./network-facts.ts";
import { attachedNetworks, type NetworkState } from "./network-state.ts";
import { templateFacts } from "./template-network.ts";
import type { NetworkFacts } from "./types.ts";

/** All networks, as the Engine API shows them. */
export function listNetworks(state: NetworkState): NetworkFacts[] {
  const { templates, endpoints, host, none } = state;
  return [
    ...attachedNetworks(state).map((network) => networkFacts(network, endpoints.ofNetwork(network.id))),
    ...[...templates.values()].map(templateFacts),
    plainFacts("host", host),
    plainFacts("none", none),
  ];
}

/** @throws EngineError `not_found`, or `invalid_argument` when several ids start so */
export function inspectNetwork(state: NetworkState, nameOrId: string): NetworkFacts {
  const all = listNetworks(state);
  const exact = all.find(({ id }) => id === nameOrId) ?? all.find(({ name }) => name === nameOrId);
  if (exact) return exact;
  const matches = nameOrId === "" ? [] : all.filter(({ id }) => id.startsWith(nameOrId));
  const [found] = matches;
  if (matches.length > 1) {
    throw new EngineError(
      "invalid_argument",
      `network ${nameOrId} is ambiguous (${matches.length} matches found based on ID prefix)`,
    );
  }
  if (!found) throw new EngineError("not_found", `network ${nameOrId} not found`);
  return found;
}
