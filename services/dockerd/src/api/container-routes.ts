import { EngineError } from "@longshore/errors";
import { containerChanges } from "../containers/container-changes.ts";
import { createRequestSchema, updateSchema } from "../containers/container-config.ts";
import { containerSize } from "../containers/container-size.ts";
import { createContainer } from "../containers/create-container.ts";
import { exportContainer } from "../containers/export-container.ts";
import { inspectContainer } from "../containers/inspect-container.ts";
import { killContainer } from "../containers/kill-container.ts";
import { LIST_FILTERS, listContainers } from "../containers/list-containers.ts";
import { asMeant, asMeantUpdate } from "../containers/older-clients.ts";
import { pauseContainer, unpauseContainer } from "../containers/pause-container.ts";
import { PRUNE_CONTAINERS_FILTERS, pruneContainers } from "../containers/prune-containers.ts";
import { removeContainer } from "../containers/remove-container.ts";
import { renameContainer } from "../containers/rename-container.ts";
import { restartContainer } from "../containers/restart-container.ts";
import { startContainer } from "../containers/start-container.ts";
import { type StopOptions, stopContainer } from "../containers/stop-container.ts";
import { resizeContainer, topContainer } from "../containers/top-container.ts";
import { updateContainer } from "../containers/update-container.ts";
import { parseWaitCondition, waitContainer } from "../containers/wait-container.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";
import { removeLink } from "../links/container-links.ts";
import { cgroupVersion } from "../system/host-facts.ts";
import { platformParam } from "./platform-param.ts";

/** Operations on containers, but for their streams. */
export function containerRoutes(engine: Engine): Route[] {
  const { containers } = engine;
  return [
    {
      method: "GET",
      path: "/containers/json",
      handler: async (call) => {
        const filters = Filters.parse(call.query.get("filters"), LIST_FILTERS);
        const limit = call.integer("limit");
        call.json(
          200,
          await listContainers(engine, {
            all: call.flag("all"),
            limit: positive(limit),
            filters,
            size: call.flag("size"),
            asked: call,
          }),
        );
      },
    },
    {
      method: "POST",
      path: "/containers/create",
      handler: async (call) => {
        const platform = call.atLeast("1.41") ? platformParam(call) : undefined;
        const { request, shallowReadOnly, warnings } = asMeant(await call.body(createRequestSchema), {
          atLeast: (version) => call.atLeast(version),
          isUnified: cgroupVersion() === "2",
        });
        const name = call.query.get("name") || undefined;
        const made = await createContainer(engine, request, { name, platform, shallowReadOnly });
        call.json(201, { Id: made.container.id, Warnings: [...made.warnings, ...warnings] });
      },
    },
    {
      method: "GET",
      path: "/containers/:id/json",
      handler: async (call) => {
        const container = containers.find(call.param("id"));
        const size = call.flag("size") ? await containerSize(engine, container.record) : {};
        call.json(200, { ...inspectContainer(engine, container, call), ...size });
      },
    },
    {
      method: "GET",
      path: "/containers/:id/changes",
      handler: async (call) =>
        call.json(200, await containerChanges(engine, containers.find(call.param("id")))),
    },
    {
      method: "GET",
      path: "/containers/:id/export",
      handler: (call) =>
        exportContainer(
          engine,
          containers.find(call.param("id")),
          (tar) => call.send("application/octet-stream", tar),
          call.signal,
        ),
    },
    {
      method: "GET",
      path: "/containers/:id/top",
      handler: async (call) => {
        const container = containers.find(call.param("id"));
        call.json(200, await topContainer(engine, container, call.query.get("ps_args") || "-ef"));
      },
    },
    {
      method: "POST",
      path: "/containers/:id/start",
      handler: async (call) => {
        // So long is no empty object.
        if (call.hasBody(8)) {
          throw new EngineError(
            "invalid_argument",
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
          );
        }
        if (call.query.get("checkpoint")) {
          throw new EngineError("invalid_argument", "checkpoint is only supported in experimental mode");
        }
        const container = containers.find(call.param("id"));
        if (call.query.get("checkpoint-dir"))
          throw new EngineError("permission_denied", "custom checkpointdir is not supported");
        const started = await startContainer(engine, container);
        call.empty(started ? 204 : 304);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/stop",
      handler: async (call) => {
        const options = stopOptions(call);
        const stopped = await stopContainer(engine, containers.find(call.param("id")), options);
        call.empty(stopped ? 204 : 304);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/restart",
      handler: async (call) => {
        const options = stopOptions(call);
        await restartContainer(engine, containers.find(call.param("id")), options);
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/kill",
      handler: async (call) => {
        const nameOrId = call.param("id");
        try {
          await killContainer(engine, containers.find(nameOrId), call.query.get("signal") ?? "");
        } catch (error) {
          if (!(error instanceof EngineError)) throw error;
          const { code, message } = error;
          throw new EngineError(code, `cannot kill container: ${nameOrId}: ${message}`, { cause: error });
        }
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/pause",
      handler: async (call) => {
        await pauseContainer(engine, containers.find(call.param("id")));
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/unpause",
      handler: async (call) => {
        await unpauseContainer(engine, containers.find(call.param("id")));
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/rename",
      handler: async (call) => {
        await renameContainer(engine, containers.find(call.param("id")), call.query.get("name") ?? "");
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/resize",
      handler: async (call) => {
        const size = { height: call.terminalSize("h"), width: call.terminalSize("w") };
        await resizeContainer(engine, containers.find(call.param("id")), size);
        call.empty(200);
      },
    },
    {
      method: "POST",
      path: "/containers/:id/update",
      handler: async (call) => {
        const body = await call.body(updateSchema);
        const container = containers.find(call.param("id"));
        const { warnings } = await updateContainer(engine, container, asMeantUpdate(body, call));
        call.json(200, { Warnings: warnings });
      },
    },
    {
      method: "POST",
      path: "/containers/:id/wait",
      handler: async (call) => {
        // Clients of before API 1.30 know no condition, and take the headers for the end.
        const isOld = !call.atLeast("1.30");
        const condition = isOld ? "not-running" : parseWaitCondition(call.query.get("condition"));
        const container = containers.find(call.param("id"));
        const exit = waitContainer(container, condition, call.signal);
        exit.catch(() => {}); // the client went away
        // Others start the container once they see the headers.
        const body = isOld ? undefined : call.stream("application/json");
        const { exitCode, error } = await exit;
        const answer = {
          StatusCode: exitCode,
          ...(error !== undefined && { Error: { Message: error } }),
        };
        if (!body) call.json(200, answer);
        // Those of before 1.34 take an empty answer for the failure, and have no other.
        else if (error !== undefined && !call.atLeast("1.34")) body.end();
        else body.end(`${JSON.stringify(answer)}\n`);
      },
    },
    {
      method: "DELETE",
      path: "/containers/:id",
      handler: async (call) => {
        const container = containers.find(call.param("id"));
        if (call.flag("link")) {
          throw new EngineError(
            "invalid_argument",
            "Conflict, cannot remove the default link name of the container",
          );
        }
        await engine.store.check();
        await removeContainer(engine, container, { force: call.flag("force"), volumes: call.flag("v") });
        call.empty(204);
      },
    },
    {
      // The only name with a slash: of a link.
      method: "DELETE",
      path: "/containers/:parent/:alias",
      handler: async (call) => {
        const [parent, alias] = [call.param("parent"), call.param("alias")];
        if (!call.flag("link")) throw new EngineError("not_found", `No such container: ${parent}/${alias}`);
        await removeLink(engine, containers.find(parent), alias);
        call.empty(204);
      },
    },
    {
      method: "POST",
      path: "/containers/prune",
      since: "1.25",
      handler: async (call) => {
        const filters = Filters.parse(call.query.get("filters"), PRUNE_CONTAINERS_FILTERS);
        call.json(200, await engine.prunes.run("containers", () => pruneContainers(engine, filters)));
      },
    },
  ];
}

function stopOptions(call: ApiCall): StopOptions {
  const signal = call.atLeast("1.42") ? call.query.get("signal") : null;
  return { seconds: call.integer("t"), signal: signal ?? undefined };
}

function positive(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined;
}
