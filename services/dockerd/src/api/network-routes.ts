import { EngineError } from "@longshore/errors";
import type { NetworkFacts } from "@longshore/network";
import type { Engine } from "../engine.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";

const NETWORK_FILTERS = ["dangling", "driver", "id", "label", "name", "scope", "type"];
const PREDEFINED = ["bridge", "host", "none"];

/** Networks and volumes, as far as they go: the predefined networks can be looked at, and there are no volumes. */
export function networkRoutes(engine: Engine): Route[] {
  return [
    {
      method: "GET",
      path: "/networks",
      handler: (call) => {
        const filters = Filters.parse(call.query.get("filters"), NETWORK_FILTERS);
        const fits = (network: NetworkFacts) =>
          filters.match("driver", (driver) => network.driver === driver) &&
          filters.match("id", (id) => network.id.startsWith(id)) &&
          filters.match("name", (name) => network.name.includes(name)) &&
          filters.match("scope", (scope) => network.scope === scope) &&
          filters.match(
            "type",
            (type) => (PREDEFINED.includes(network.name) ? "builtin" : "custom") === type,
          ) &&
          filters.boolean("dangling") !== true &&
          filters.matchLabels(network.labels);
        const networks = engine.networks.list().filter(fits);
        call.json(
          200,
          networks.map((network) => ({ ...show(engine, network), Containers: {} })),
        );
      },
    },
    {
      method: "GET",
      path: "/networks/:id",
      handler: (call) => call.json(200, show(engine, find(engine, call.param("id")))),
    },
    {
      method: "GET",
      path: "/volumes",
      handler: (call) => {
        Filters.parse(call.query.get("filters"), ["dangling", "driver", "label", "name"]);
        call.json(200, { Volumes: [], Warnings: null });
      },
    },
    {
      method: "GET",
      path: "/volumes/:name",
      handler: (call) => {
        throw new EngineError("not_found", `get ${call.param("name")}: no such volume`);
      },
    },
  ];
}

function find(engine: Engine, nameOrId: string): NetworkFacts {
  try {
    return engine.networks.inspect(nameOrId);
  } catch (error) {
    if (error instanceof EngineError && error.code === "not_found") {
      throw new EngineError("not_found", `network ${nameOrId} not found`, { cause: error });
    }
    throw error;
  }
}

function show(engine: Engine, network: NetworkFacts) {
  const containers = Object.entries(network.containers).map(([id, endpoint]) => [
    id,
    {
      Name: engine.containers.get(id)?.record.name ?? "",
      EndpointID: endpoint.endpointId,
      MacAddress: endpoint.macAddress,
      IPv4Address: endpoint.ipv4Address,
      IPv6Address: "",
    },
  ]);
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: network.scope,
    Driver: network.driver,
    EnableIPv6: network.enableIpv6,
    IPAM: {
      Driver: "default",
      Options: null,
      Config: network.ipam.map(({ subnet, gateway }) => ({ Subnet: subnet, Gateway: gateway })),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: Object.fromEntries(containers),
    Options: network.options,
    Labels: network.labels,
  };
}
