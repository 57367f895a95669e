import { EngineError, errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";
import { listVolumes, showVolume, VOLUME_FILTERS } from "../volumes/list-volumes.ts";
import { volumeRequestSchema } from "../volumes/mount-request.ts";
import { isAllAsked, PRUNE_FILTERS, pruneVolumes } from "../volumes/prune-volumes.ts";
import { notInSwarm } from "./swarm-routes.ts";

/** Operations on volumes. */
export function volumeRoutes(engine: Engine): Route[] {
  const { volumes } = engine;
  return [
    {
      method: "GET",
      path: "/volumes",
      handler: async (call) => {
        const filters = Filters.parse(call.query.get("filters"), VOLUME_FILTERS);
        call.json(200, { Volumes: await listVolumes(engine, filters), Warnings: null });
      },
    },
    {
      method: "GET",
      path: "/volumes/:name",
      handler: (call) => call.json(200, showVolume(engine, volumes.find(call.param("name")))),
    },
    { method: "POST", path: "/volumes/create", handler: (call) => create(engine, call) },
    { method: "POST", path: "/volumes/prune", since: "1.25", handler: (call) => prune(engine, call) },
    {
      method: "DELETE",
      path: "/volumes/:name",
      handler: async (call) => {
        await engine.store.check();
        try {
          await volumes.remove(call.param("name"));
        } catch (error) {
          if (!(call.flag("force") && errorCode(error) === "not_found")) throw error;
        }
        call.empty(204);
      },
    },
    {
      method: "PUT",
      path: "/volumes/:name",
      since: "1.42",
      handler: () => {
        throw new EngineError(
          "unavailable",
          "volume update only valid for cluster volumes, but swarm is unavailable",
        );
      },
    },
  ];
}

async function create(engine: Engine, call: ApiCall): Promise<void> {
  const body = await call.body(volumeRequestSchema);
  if (body.ClusterVolumeSpec && call.atLeast("1.42")) notInSwarm();
  await engine.store.check();
  const record = await engine.volumes.create({
    name: body.Name ?? "",
    driver: body.Driver ?? "",
    options: body.DriverOpts ?? null,
    labels: body.Labels ?? null,
  });
  call.json(201, showVolume(engine, record));
}

async function prune(engine: Engine, call: ApiCall): Promise<void> {
  const filters = Filters.parse(call.query.get("filters"), PRUNE_FILTERS);
  await engine.store.check();
  // Clients of before there was a choice mean all.
  const all = isAllAsked(filters) || !call.atLeast("1.42");
  call.json(200, await engine.prunes.run("volumes", () => pruneVolumes(engine, filters, { all })));
}
