import { EngineError, type ErrorCode } from "@longshore/errors";
import type { HTTPMethod } from "find-my-way";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";

/** Operations that this daemon does not do say so; where there is an answer without plugins, it is that. */
const UNSUPPORTED: [HTTPMethod, string, string][] = [
  ["POST", "/build", "building images"],
  ["GET", "/plugins/privileges", "managed plugins"],
  ["POST", "/plugins/pull", "managed plugins"],
  ["POST", "/plugins/create", "managed plugins"],
  ["POST", "/swarm/init", "swarm mode"],
  ["POST", "/swarm/join", "swarm mode"],
];

/** Connections that a builder takes over, and what Docker says of a wrong request for one. */
const UPGRADES: [string, ErrorCode][] = [
  ["/session", "invalid_argument"],
  ["/grpc", "internal"],
];

/** What is done to one plugin: there is none. */
const PLUGIN: [HTTPMethod, string][] = [
  ["GET", "/plugins/:name/json"],
  ["DELETE", "/plugins/:name"],
  ...["enable", "disable", "upgrade", "push", "set"].map((what): [HTTPMethod, string] => [
    "POST",
    `/plugins/:name/${what}`,
  ]),
];

/** Checkpoints are an experiment of Docker's; this is what it says where experiments are off. */
const EXPERIMENTAL: [HTTPMethod, string][] = [
  ["GET", "/containers/:id/checkpoints"],
  ["POST", "/containers/:id/checkpoints"],
  ["DELETE", "/containers/:id/checkpoints/:checkpoint"],
];

/** `docker system prune` gives its own filters, labels too. */
const BUILD_CACHE_FILTERS = "description id inuse label label! parent private shared type until".split(" ");

export function unsupportedRoutes(): Route[] {
  const unsupported = UNSUPPORTED.map(([method, path, what]): Route => {
    const handler = () => {
      throw new EngineError("unimplemented", `${what} is not supported`);
    };
    return { method, path, handler };
  });
  const upgrades = UPGRADES.map(
    ([path, code]): Route => ({ method: "POST", path, handler: (call) => refuseUpgrade(call, code) }),
  );
  const cancel: Route = {
    method: "POST",
    path: "/build/cancel",
    handler(call) {
      if (!call.query.get("id")) throw new EngineError("invalid_argument", "build ID not provided");
      call.empty(200); // no build is going on
    },
  };
  const experimental = EXPERIMENTAL.map(
    ([method, path]): Route => ({ method, path, handler: experimentsAreOff }),
  );
  const plugins: Route[] = [
    {
      method: "GET",
      path: "/plugins",
      handler: (call) => {
        Filters.parse(call.query.get("filters"), ["capability", "enabled"]).boolean("enabled");
        call.json(200, []);
      },
    },
    ...PLUGIN.map(([method, path]): Route => {
      const handler: Route["handler"] = (call) => {
        throw new EngineError("not_found", `plugin ${JSON.stringify(call.param("name"))} not found`);
      };
      return { method, path, handler };
    }),
  ];
  const noBuildCache: Route = {
    method: "POST",
    path: "/build/prune",
    since: "1.31",
    handler: (call) => {
      Filters.parse(call.query.get("filters"), BUILD_CACHE_FILTERS).until();
      checkCacheLimits(call);
      call.json(200, { CachesDeleted: null, SpaceReclaimed: 0 });
    },
  };
  return [...unsupported, ...upgrades, cancel, ...experimental, ...plugins, noBuildCache];
}

/** Of how much of a build cache is to stay. @throws EngineError `invalid_argument` in Docker's words for what is no number of bytes */
export function checkCacheLimits(call: Pick<ApiCall, "atLeast" | "query">): void {
  const bytes = (name: string) => byteCount(name, call.query.get(name) ?? "");
  if (!call.atLeast("1.48")) {
    bytes("keep-storage");
    return;
  }
  // The older name counts where the newer isn't given.
  if (bytes("reserved-space") === 0) bytes("keep-storage");
  bytes("max-used-space");
  bytes("min-free-space");
}

function byteCount(name: string, text: string): number {
  const isNumber = /^([+-]?[0-9]+)?$/.test(text);
  if (isNumber && Number.isSafeInteger(Number(text))) return Number(text);
  const why = isNumber ? "value out of range" : "invalid syntax";
  throw new EngineError(
    "invalid_argument",
    `${name} is in bytes and expects an integer, got ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: ${why}`,
  );
}

/** What isn't asked for rightly Docker refuses so. */
function refuseUpgrade(call: ApiCall, code: ErrorCode): never {
  const protocol = call.request.headers.upgrade ?? "";
  if (protocol === "") throw new EngineError(code, "no upgrade proto in request");
  if (protocol !== "h2c") throw new EngineError(code, `protocol ${protocol} not supported`);
  throw new EngineError("unimplemented", "building images is not supported");
}

function experimentsAreOff(): never {
  throw new EngineError(
    "unimplemented",
    "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.",
  );
}
