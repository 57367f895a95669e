import { z } from "zod";
import { endpointSchema } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { connectContainer, disconnectContainer } from "../networks/connect-container.ts";
import { createNetwork } from "../networks/create-network.ts";
import { listNetworks } from "../networks/list-networks.ts";
import { pruneNetworks, removeNetwork } from "../networks/remove-networks.ts";
import { showNetwork } from "../networks/show-network.ts";

/** Operations on networks. */
export function networkRoutes(engine: Engine): Route[] {
  const find = (call: ApiCall) => engine.networks.inspect(call.param("id"));
  return [
    {
      method: "GET",
      path: "/networks",
      handler: async (call) => call.json(200, await listNetworks(engine, call)),
    },
    {
      method: "GET",
      path: "/networks/:id",
      handler: (call) => call.json(200, showNetwork(engine, find(call))),
    },
    { method: "POST", path: "/networks/create", handler: (call) => createNetwork(engine, call) },
    { method: "POST", path: "/networks/prune", handler: (call) => pruneNetworks(engine, call) },
    {
      method: "DELETE",
      path: "/networks/:id",
      handler: async (call) => {
        await removeNetwork(engine, call.param("id"));
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
