import { EngineError } from "@longshore/errors";
import type { HTTPMethod } from "find-my-way";
import type { Route } from "../http/server.ts";

/** Operations of the API that this daemon doesn't do: they say so, instead of not being there. */
const UNSUPPORTED: [HTTPMethod, string, string][] = [
  ["GET", "/containers/:id/attach/ws", "attaching over a websocket"],
  ["GET", "/containers/:id/checkpoints", "checkpoints"],
  ["POST", "/containers/:id/checkpoints", "checkpoints"],
  ["DELETE", "/containers/:id/checkpoints/:checkpoint", "checkpoints"],
  ["POST", "/build", "building images"],
  ["POST", "/build/prune", "building images"],
  ["POST", "/build/cancel", "building images"],
  ["POST", "/session", "building images"],
  ["POST", "/grpc", "building images"],
  ["GET", "/plugins", "plugins"],
];

const SWARM = ["swarm", "nodes", "services", "tasks", "secrets", "configs"];

export function unsupportedRoutes(): Route[] {
  const unsupported = UNSUPPORTED.map(([method, path, what]): Route => {
    const handler = () => {
      throw new EngineError("unimplemented", `${what} is not supported`);
    };
    return { method, path, handler };
  });
  const swarm = SWARM.flatMap((name) =>
    (["GET", "POST", "DELETE"] as const).flatMap((method) =>
      [`/${name}`, `/${name}/*`].map((path): Route => ({ method, path, handler: notInSwarm })),
    ),
  );
  return [...unsupported, ...swarm];
}

function notInSwarm(): never {
  throw new EngineError(
    "unavailable",
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
  );
}
