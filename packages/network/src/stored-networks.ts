import type { Store } from "@longshore/store";
import { bridgeNetwork } from "./bridge-network.ts";
import { linkedNetwork } from "./linked-network.ts";
import { networkFacts, plainFacts } from "./network-facts.ts";
import { type EndpointRecord, type NetworkRecord, networkRecords } from "./records.ts";
import { templateFacts, templateNetwork } from "./template-network.ts";
import type { NetworkFacts } from "./types.ts";

/**
 * Networks of another engine, by what it has written down.
 *
 * @param store its part of the store
 * @throws EngineError `unavailable`
 */
export async function storedNetworks(store: Store): Promise<NetworkFacts[]> {
  const records = networkRecords(store);
  const [networks, endpoints] = await Promise.all([records.networks.list(), records.endpoints.list()]);
  const all = endpoints.map(({ value }) => value);
  return networks.map(({ key, value }) =>
    factsOf(
      key,
      value,
      all.filter(({ networkId }) => networkId === value.id),
    ),
  );
}

function factsOf(name: string, record: NetworkRecord, endpoints: readonly EndpointRecord[]): NetworkFacts {
  const template = templateNetwork(name, record);
  if (template) return templateFacts(template);
  const linked = linkedNetwork(name, record, []);
  if (linked) return networkFacts(linked, endpoints);
  // Options of a default bridge are settings of its engine, and not written down.
  if (record.bridge) return networkFacts(bridgeNetwork(name, record, { link: "", options: {} }), endpoints);
  return plainFacts(name, record);
}
