import os from "node:os";
import { EngineError } from "@longshore/errors";
import type { NetworkFacts } from "@longshore/network";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import { ENGINE_LABEL, isMeant } from "../state/fleet.ts";
import { PREDEFINED } from "./network-mode.ts";
import { showMembers, showNetwork } from "./show-network.ts";

const NETWORK_FILTERS = ["dangling", "driver", "engine", "id", "label", "name", "scope", "type"];

/** `GET /networks`; with the filter `engine`, those of the engines that it names. */
export async function listNetworks(engine: Engine, call: ApiCall): Promise<object[]> {
  const filters = Filters.parse(call.query.get("filters"), NETWORK_FILTERS);
  const [wrong] = filters.get("type").filter((type) => !["builtin", "custom"].includes(type));
  if (wrong !== undefined) throw new EngineError("invalid_argument", `invalid filter: 'type'='${wrong}'`);
  const dangling = filters.boolean("dangling");
  const isUsed = ({ name, containers }: NetworkFacts) =>
    PREDEFINED.includes(name) || Object.keys(containers).length > 0;
  const fits = (network: NetworkFacts) =>
    filters.match("driver", (driver) => network.driver === driver) &&
    filters.matchPattern("id", network.id) &&
    filters.matchPattern("name", network.name) &&
    filters.match("scope", (scope) => network.scope === scope) &&
    filters.match("type", (type) => (PREDEFINED.includes(network.name) ? "builtin" : "custom") === type) &&
    (dangling === undefined || dangling !== isUsed(network)) &&
    filters.matchLabels(network.labels);
  // Who is on each was told to clients of before API 1.28.
  const show = (network: NetworkFacts) => ({
    ...showNetwork(network),
    ...(!call.atLeast("1.28") && { Containers: showMembers(engine, network) }),
  });
  const own = engine.networks.list().filter(fits);
  const engines = filters.get("engine");
  if (engines.length === 0) return own.map(show);
  const labelled = (network: NetworkFacts, name: string) =>
    show({ ...network, labels: { ...network.labels, [ENGINE_LABEL]: name } });
  const mine = isMeant(engine.id, engines) ? own.map((network) => labelled(network, os.hostname())) : [];
  const others = (await engine.fleet?.meant(engines))?.others ?? [];
  const theirs = await Promise.all(
    others.map(async (other) =>
      ((await engine.fleet?.networks(other)) ?? [])
        .filter(fits)
        .map((network) => labelled(network, other.name)),
    ),
  );
  return [...mine, ...theirs.flat()];
}
