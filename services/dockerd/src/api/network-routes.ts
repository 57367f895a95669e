import { EngineError, errorCode } from "@longshore/errors";
import type { NetworkFacts } from "@longshore/network";
import { z } from "zod";
import { endpointSchema } from "../containers/container-config.ts";
import { connectContainer, disconnectContainer } from "../containers/container-networks.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";
import { parseTime } from "../http/time.ts";

const NETWORK_FILTERS = ["dangling", "driver", "id", "label", "name", "scope", "type"];
const PREDEFINED = ["bridge", "host", "none"];

/** Operations on networks. */
export function networkRoutes(engine: Engine): Route[] {
  const find = (call: ApiCall) => engine.networks.inspect(call.param("id"));
  return [
    { method: "GET", path: "/networks", handler: (call) => call.json(200, list(engine, call)) },
    { method: "GET", path: "/networks/:id", handler: (call) => call.json(200, show(engine, find(call))) },
    { method: "POST", path: "/networks/create", handler: (call) => create(engine, call) },
    { method: "POST", path: "/networks/prune", handler: (call) => prune(engine, call) },
    {
      method: "DELETE",
      path: "/networks/:id",
      handler: async (call) => {
        await remove(engine, call.param("id"));
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/networks/:id/connect",
      handler: async (call) => {
        const { Container, EndpointConfig } = await call.body(connectSchema);
        const { name } = find(call);
        await connectContainer(engine, engine.containers.find(Container), name, EndpointConfig ?? undefined);
        call.empty(200);
      },
    },
    {
      method: "POST",
      path: "/networks/:id/disconnect",
      handler: async (call) => {
        const { Container, Force } = await call.body(disconnectSchema);
        const { name } = find(call);
        await disconnectContainer(engine, engine.containers.find(Container), name, Force ?? false);
        call.empty(200);
      },
    },
  ];
}

const connectSchema = z.object({ Container: z.string(), EndpointConfig: endpointSchema.nullish() });
const disconnectSchema = z.object({ Container: z.string(), Force: z.boolean().nullish() });

function list(engine: Engine, call: ApiCall): object[] {
  const filters = Filters.parse(call.query.get("filters"), NETWORK_FILTERS);
  const dangling = filters.boolean("dangling");
  const isUsed = ({ name, containers }: NetworkFacts) =>
    PREDEFINED.includes(name) || Object.keys(containers).length > 0;
  const fits = (network: NetworkFacts) =>
    filters.match("driver", (driver) => network.driver === driver) &&
    filters.match("id", (id) => network.id.startsWith(id)) &&
    filters.match("name", (name) => network.name.includes(name)) &&
    filters.match("scope", (scope) => network.scope === scope) &&
    filters.match("type", (type) => (PREDEFINED.includes(network.name) ? "builtin" : "custom") === type) &&
    (dangling === undefined || dangling !== isUsed(network)) &&
    filters.matchLabels(network.labels);
  return engine.networks
    .list()
    .filter(fits)
    .map((network) => ({ ...show(engine, network), Containers: {} }));
}

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? "");
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);
const map = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});

const createSchema = z.object({
  Name: text,
  Driver: text,
  Scope: text,
  Internal: flag,
  Attachable: flag,
  Ingress: flag,
  ConfigOnly: flag,
  ConfigFrom: z.object({ Network: text }).nullish(),
  EnableIPv6: flag,
  IPAM: z
    .object({
      Driver: text,
      Options: map,
      Config: z
        .array(z.object({ Subnet: text, IPRange: text, Gateway: text, AuxiliaryAddresses: map }))
        .nullish(),
    })
    .nullish(),
  Options: map,
  Labels: map,
});
type CreateBody = z.output<typeof createSchema>;

/** What isn't carried out; true means that the client asked for it. */
const UNSUPPORTED: Record<string, (body: CreateBody) => boolean> = {
  Scope: ({ Scope }) => !["", "local"].includes(Scope),
  Ingress: ({ Ingress }) => Ingress,
  ConfigOnly: ({ ConfigOnly }) => ConfigOnly,
  ConfigFrom: ({ ConfigFrom }) => Boolean(ConfigFrom?.Network),
  EnableIPv6: ({ EnableIPv6 }) => EnableIPv6,
  "IPAM.Driver": ({ IPAM }) => !["", "default"].includes(IPAM?.Driver ?? ""),
  "IPAM.Options": ({ IPAM }) => Object.keys(IPAM?.Options ?? {}).length > 0,
  "IPAM.Config with several subnets": ({ IPAM }) => (IPAM?.Config?.length ?? 0) > 1,
};

async function create(engine: Engine, call: ApiCall): Promise<void> {
  const body = await call.body(createSchema);
  if (body.Name === "") throw new EngineError("invalid_argument", "network name cannot be empty");
  const driver = body.Driver || "bridge";
  if (driver !== "bridge") throw driverRefusal(driver);
  for (const [field, isAsked] of Object.entries(UNSUPPORTED)) {
    if (isAsked(body)) throw new EngineError("invalid_argument", `${field} is not supported`);
  }
  const config = body.IPAM?.Config?.[0];
  const network = await engine.networks.create({
    name: body.Name,
    ipam: {
      subnet: config?.Subnet ?? "",
      ipRange: config?.IPRange ?? "",
      gateway: config?.Gateway ?? "",
      auxiliary: config?.AuxiliaryAddresses ?? {},
    },
    internal: body.Internal,
    attachable: body.Attachable,
    options: body.Options,
    labels: body.Labels,
  });
  engine.events.emit("network", "create", network.id, { name: network.name, type: network.driver });
  call.json(201, { Id: network.id, Warning: "" });
}

function driverRefusal(driver: string): EngineError {
  if (["host", "null"].includes(driver)) {
    return new EngineError("permission_denied", `only one instance of "${driver}" network is allowed`);
  }
  if (["macvlan", "ipvlan", "overlay"].includes(driver)) {
    return new EngineError("invalid_argument", `network driver ${driver} is not supported`);
  }
  return new EngineError("not_found", `plugin "${driver}" not found`);
}

async function remove(engine: Engine, nameOrId: string): Promise<void> {
  const { id, name, driver } = await engine.networks.remove(nameOrId);
  engine.events.emit("network", "destroy", id, { name, type: driver });
}

async function prune(engine: Engine, call: ApiCall): Promise<void> {
  const filters = Filters.parse(call.query.get("filters"), ["label", "label!", "until"]);
  const [until] = filters.get("until").map(parseTime);
  const deleted: string[] = [];
  for (const { name, labels, created, containers } of engine.networks.list()) {
    if (PREDEFINED.includes(name) || Object.keys(containers).length > 0) continue;
    if (until !== undefined && BigInt(Date.parse(created)) * 1_000_000n > until) continue;
    if (!filters.matchLabels(labels)) continue;
    if (filters.has("label!") && filters.matchLabels(labels, "label!")) continue;
    try {
      await remove(engine, name);
      deleted.push(name);
    } catch (error) {
      if (!["not_found", "permission_denied"].includes(errorCode(error))) throw error; // gone or in use by now
    }
  }
  engine.events.emit("network", "prune", "", { reclaimed: "0" });
  call.json(200, { NetworksDeleted: deleted.length > 0 ? deleted : null });
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
      Config: network.ipam.map(({ subnet, gateway, ipRange, auxiliary }) => ({
        Subnet: subnet,
        Gateway: gateway,
        ...(ipRange !== undefined && { IPRange: ipRange }),
        ...(auxiliary && { AuxiliaryAddresses: auxiliary }),
      })),
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
