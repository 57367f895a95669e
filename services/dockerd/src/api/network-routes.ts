import { EngineError } from "@longshore/errors";
import { z } from "zod";
import { endpointSchema } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { connectContainer, disconnectContainer } from "../networks/connect-container.ts";
import { createNetwork } from "../networks/create-network.ts";
import { listNetworks } from "../networks/list-networks.ts";
import { pruneNetworks, removeNetwork } from "../networks/remove-networks.ts";
import { showMembers, showNetwork, showStatus } from "../networks/show-network.ts";

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
      handler: (call) => {
        checkVerbose(call.query.get("verbose"));
        const network = find(call);
        const scope = call.query.get("scope") ?? "";
        if (scope !== "" && scope !== network.scope)
          throw new EngineError("not_found", `network ${call.param("id")} not found`);
        call.json(200, {
          ...showNetwork(network),
          Containers: showMembers(engine, network),
          ...(call.atLeast("1.52") && { Status: showStatus(engine, network) }),
        });
      },
    },
    { method: "POST", path: "/networks/create", handler: (call) => createNetwork(engine, call) },
    {
      method: "POST",
      path: "/networks/prune",
      since: "1.25",
      handler: (call) => engine.prunes.run("networks", () => pruneNetworks(engine, call)),
    },
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
        const container = engine.containers.find(Container);
        // Engines of before didn't heed it.
        const endpoint = EndpointConfig && {
          ...EndpointConfig,
          ...(!call.atLeast("1.54") && { MacAddress: "" }),
        };
        await connectContainer(engine, container, find(call).name, endpoint ?? undefined);
        call.empty(200);
      },
    },
    {
      method: "POST",
      path: "/networks/:id/disconnect",
      handler: async (call) => {
        const { Container, Force } = await call.body(disconnectSchema);
        const container = engine.containers.find(Container);
        await disconnectContainer(engine, container, call.param("id"), Force ?? false);
        call.empty(200);
      },
    },
  ];
}

const connectSchema = z.object({
  Container: z.string().default(""),
  EndpointConfig: endpointSchema.nullish(),
});
const disconnectSchema = z.object({ Container: z.string().default(""), Force: z.boolean().nullish() });

/** Go's words for truth. What is told of networks of a swarm on `verbose`, others have not. */
function checkVerbose(text: string | null): void {
  if (text === null || /^(1|t|true|0|f|false)?$/i.test(text)) return;
  throw new EngineError(
    "invalid_argument",
    `invalid value for verbose: ${text}: strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`,
  );
}
