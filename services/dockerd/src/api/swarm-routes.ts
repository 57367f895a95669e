import { EngineError } from "@longshore/errors";
import type { HTTPMethod } from "find-my-way";
import { z } from "zod";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";

/** What is looked at in a request before it is told that there is no swarm. */
type Check = "filters" | "body" | "version" | "streams";

interface SwarmOperation {
  method: HTTPMethod;
  path: string;
  checks?: readonly Check[];
  /** The API version that brought it. */
  since?: string;
}

const LISTED = ["nodes", "services", "tasks", "secrets", "configs"] as const;
const SINCE: Readonly<Record<string, string>> = { secrets: "1.25", configs: "1.30" };

const OPERATIONS: readonly SwarmOperation[] = [
  { method: "GET", path: "/swarm" },
  { method: "GET", path: "/swarm/unlockkey" },
  { method: "POST", path: "/swarm/unlock", checks: ["body"] },
  { method: "POST", path: "/swarm/update", checks: ["body", "version"] },
  ...LISTED.flatMap((kind): SwarmOperation[] => [
    { method: "GET", path: `/${kind}`, checks: ["filters"] },
    { method: "GET", path: `/${kind}/:id` },
  ]),
  ...LISTED.filter((kind) => kind !== "tasks").flatMap((kind): SwarmOperation[] => [
    { method: "DELETE", path: `/${kind}/:id` },
    { method: "POST", path: `/${kind}/:id/update`, checks: ["body", "version"] },
  ]),
  ...["services", "secrets", "configs"].map(
    (kind): SwarmOperation => ({ method: "POST", path: `/${kind}/create`, checks: ["body"] }),
  ),
  { method: "GET", path: "/services/:id/logs", checks: ["streams"] },
  { method: "GET", path: "/tasks/:id/logs", checks: ["streams"], since: "1.29" },
];

const CHECKS: Readonly<Record<Check, (call: ApiCall, kind: string) => Promise<void> | void>> = {
  // Which keys a list knows, only a swarm's manager says.
  filters: (call) => {
    Filters.parse(call.query.get("filters"), undefined);
  },
  body: async (call) => {
    await call.body(z.unknown());
  },
  version: (call, kind) => {
    const version = call.query.get("version") ?? "";
    if (/^[0-9]+$/.test(version)) return;
    const why = ["secret", "config"].includes(kind)
      ? ""
      : ` '${version}': strconv.ParseUint: parsing ${JSON.stringify(version)}: invalid syntax`;
    throw new EngineError("invalid_argument", `invalid ${kind} version${why}`);
  },
  streams: (call) => {
    if (!call.flag("stdout") && !call.flag("stderr"))
      throw new EngineError("invalid_argument", "Bad parameters: you must choose at least one stream");
  },
};

/** The operations of a swarm, as an engine that is in none answers them; to begin one is refused elsewhere. */
export function swarmRoutes(): Route[] {
  const operations = OPERATIONS.map(({ method, path, checks = [], since }): Route => {
    const [, kind = ""] = path.split("/");
    const first = since ?? SINCE[kind];
    const handler = async (call: ApiCall) => {
      for (const check of checks) await CHECKS[check](call, kind.replace(/s$/, ""));
      notInSwarm();
    };
    return { method, path, handler, ...(first !== undefined && { since: first }) };
  });
  const leave: Route = {
    method: "POST",
    path: "/swarm/leave",
    handler: () => {
      throw new EngineError("unavailable", "This node is not part of a swarm");
    },
  };
  return [...operations, leave];
}

/** @throws EngineError `unavailable` in Docker's words */
export function notInSwarm(): never {
  throw new EngineError(
    "unavailable",
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
  );
}
