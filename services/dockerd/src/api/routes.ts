import type { Engine } from "../engine.ts";
import type { Route } from "../http/server.ts";
import { archiveRoutes } from "./archive-routes.ts";
import { containerRoutes } from "./container-routes.ts";
import { debugRoutes } from "./debug-routes.ts";
import { execRoutes } from "./exec-routes.ts";
import { imageRoutes } from "./image-routes.ts";
import { networkRoutes } from "./network-routes.ts";
import { registryRoutes } from "./registry-routes.ts";
import { statsRoutes } from "./stats-routes.ts";
import { streamRoutes } from "./stream-routes.ts";
import { swarmRoutes } from "./swarm-routes.ts";
import { systemRoutes } from "./system-routes.ts";
import { unsupportedRoutes } from "./unsupported-routes.ts";
import { volumeRoutes } from "./volume-routes.ts";

/** Every operation that is served. */
export function allRoutes(engine: Engine): Route[] {
  return [
    ...systemRoutes(engine),
    ...containerRoutes(engine),
    ...streamRoutes(engine),
    ...statsRoutes(engine),
    ...archiveRoutes(engine),
    ...execRoutes(engine),
    ...imageRoutes(engine),
    ...registryRoutes(engine),
    ...networkRoutes(engine),
    ...volumeRoutes(engine),
    ...swarmRoutes(),
    ...debugRoutes(engine),
    ...unsupportedRoutes(),
  ];
}
