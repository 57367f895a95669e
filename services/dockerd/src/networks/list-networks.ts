import { EngineError } from "@longshore/errors";
import type { NetworkFacts } from "@longshore/network";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import { PREDEFINED } from "./network-mode.ts";
import { showNetwork } from "./show-network.ts";

const NETWORK_FILTERS = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/** `GET /networks` */
export function listNetworks(engine: Engine, call: ApiCall): object[] {
  const filters = Filters.parse(call.query.get("filters"), NETWORK_FILTERS);
  const [wrong] = filters.get("type").filter((type) => !["builtin", "custom"].includes(type));
  if (wrong !== undefined) throw new EngineError("invalid_argument", `invalid filter: 'type'='${wrong}'`);
  const dangling = filters.boolean("dangling");
  const isUsed = ({ name, containers }: NetworkFacts) =>
    PREDEFINED.includes(name) || Object.keys(containers).length > 0;
  const fits = (network: NetworkFacts) =>
    filters.match("driver", (driver) => network.driver === driver) &&
    filters.match("id", (id) => matches(id, network.id)) &&
    filters.match("name", (name) => matches(name, network.name)) &&
    filters.match("scope", (scope) => network.scope === scope) &&
    filters.match("type", (type) => (PREDEFINED.includes(network.name) ? "builtin" : "custom") === type) &&
    (dangling === undefined || dangling !== isUsed(network)) &&
    filters.matchLabels(network.labels);
  return engine.networks
    .list()
    .filter(fits)
    .map((network) => ({ ...showNetwork(engine, network), Containers: {} }));
}

/** Docker's filters for names and ids are regular expressions; what is none is looked for as it is. */
function matches(pattern: string, text: string): boolean {
  if (text.includes(pattern)) return true;
  try {
    return new RegExp(pattern).test(text);
  } catch {
    return false;
  }
}
