import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import {
  IntrospectionDefinition,
  type Plugin,
} from "@longshore/api/containerd/services/introspection/v1/introspection";
import { RuntimeInfo, RuntimeRequest } from "@longshore/api/containerd/types/introspection";
import { EngineError, isErrno, toEngineError } from "@longshore/errors";
import { GRPC_STATUS } from "@longshore/rpc";
import { parseFilters } from "../metadata/filter.ts";
import { type ContainerdPlugin, SkipPlugin } from "../plugin.ts";
import type { LoadedPlugin, PluginRegistry } from "../plugin-registry.ts";
import type { RuntimeInfoSource } from "../shims/runtime-info.ts";

const ID = "introspection";
const TYPE = "io.containerd.grpc.v1";
const RUNTIME_REQUEST = "containerd.types.RuntimeRequest";
const RUNTIME_INFO = "containerd.types.RuntimeInfo";
const UNKNOWN = 2;

/** gRPC: which plugins there are, who this daemon is, what a runtime says of itself. */
export function introspectionPlugin(
  registry: PluginRegistry,
  runtimeInfo: RuntimeInfoSource,
): ContainerdPlugin {
  return {
    type: TYPE,
    id: ID,
    requires: [],
    async start({ server, root }) {
      const uuid = persistentUuid(path.join(root, `${TYPE}.${ID}`));
      server.add(IntrospectionDefinition, {
        plugins({ filters }) {
          const matches = parseFilters(filters);
          const plugins = registry.loaded.map(toProto);
          return { plugins: plugins.filter((plugin) => matches((path) => pluginField(plugin, path))) };
        },
        server: () => ({
          uuid,
          pid: BigInt(process.pid),
          pidns: fs.statSync("/proc/self/ns/pid", { bigint: true }).ino,
          deprecations: [],
        }),
        async pluginInfo({ type, id, options }, { signal }) {
          const loaded = registry.loaded.find(({ plugin }) => plugin.type === type && plugin.id === id);
          if (!loaded) throw new EngineError("not_found", `plugin ${type}.${id} not found: not found`);
          if (!options) return { plugin: toProto(loaded), extra: undefined };
          if (loaded.error) {
            throw new EngineError(
              "failed_precondition",
              "cannot get extra info, plugin not successfully loaded: failed precondition",
            );
          }
          if (type !== "io.containerd.runtime.v2" || !options.typeUrl.endsWith(RUNTIME_REQUEST)) {
            throw new EngineError(
              "unimplemented",
              "plugin does not provided extra information: not implemented",
            );
          }
          const info = await runtimeInfo(RuntimeRequest.decode(options.value), signal);
          const value = Buffer.from(RuntimeInfo.encode(info).finish());
          return { plugin: toProto(loaded), extra: { typeUrl: RUNTIME_INFO, value } };
        },
      });
      return undefined;
    },
  };
}

function pluginField(plugin: Plugin, [name]: readonly string[]): string | undefined {
  if (name === "type") return plugin.type || undefined;
  if (name === "id") return plugin.id || undefined;
  return undefined;
}

function toProto({ plugin, exports, error }: LoadedPlugin): Plugin {
  return {
    type: plugin.type,
    id: plugin.id,
    requires: [...plugin.requires],
    platforms: plugin.platformBound ? [hostPlatform()] : [],
    exports: { ...exports },
    capabilities: [...(plugin.capabilities ?? [])],
    initErr: error && {
      code: error instanceof SkipPlugin ? UNKNOWN : GRPC_STATUS[toEngineError(error).code],
      message: error.message,
      details: [],
    },
  };
}

function hostPlatform(): Plugin["platforms"][number] {
  const architecture = { x64: "amd64", arm64: "arm64" }[process.arch as string] ?? process.arch;
  return {
    os: "linux",
    architecture,
    variant: architecture === "arm64" ? "v8" : "",
    osVersion: "",
    osFeatures: [],
  };
}

/** The daemon's name for as long as its root lives. */
function persistentUuid(directory: string): string {
  const file = path.join(directory, "uuid");
  try {
    const uuid = fs.readFileSync(file, "utf8");
    if (uuid !== "") return uuid;
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  const uuid = crypto.randomUUID();
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  fs.writeFileSync(`${file}.part`, uuid);
  fs.renameSync(`${file}.part`, file);
  return uuid;
}
