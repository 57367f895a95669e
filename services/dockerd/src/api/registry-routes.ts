import { Credentials } from "@longshore/api/longshore/registry/v1/registry";
import { EngineError } from "@longshore/errors";
import { canonicalString, isImageId, parseReference, withDefaultTag } from "@longshore/reference";
import { z } from "zod";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Route } from "../http/server.ts";
import { registryFailure } from "../images/pull.ts";
import { credentialsOf } from "../images/registry-service.ts";

const SEARCH_FILTERS = ["is-automated", "is-official", "stars"] as const;
const LIMIT_MAX = 100;

/** Questions to registries. */
export function registryRoutes(engine: Engine): Route[] {
  return [
    { method: "GET", path: "/images/search", handler: (call) => search(engine, call) },
    { method: "POST", path: "/auth", handler: (call) => logIn(engine, call) },
    { method: "GET", path: "/distribution/*", since: "1.30", handler: (call) => distribution(engine, call) },
  ];
}

async function search(engine: Engine, call: ApiCall): Promise<void> {
  const term = call.query.get("term") ?? "";
  if (term === "") throw new EngineError("invalid_argument", "search term is empty");
  const limit = searchLimit(call);
  if (limit < 0 || limit > LIMIT_MAX) {
    throw new EngineError("invalid_argument", `limit ${limit} is outside the range of [1, ${LIMIT_MAX}]`);
  }
  const filters = Filters.parse(call.query.get("filters"), SEARCH_FILTERS);
  // Since then nothing is said to be automated.
  const tellsAutomated = !call.atLeast("1.45");
  const automated = filters.boolean("is-automated");
  const official = filters.boolean("is-official");
  const stars = filters.get("stars").map((text) => {
    if (/^[0-9]+$/.test(text)) return Number(text);
    throw new EngineError("invalid_argument", `invalid filter 'stars=${text}'`);
  });
  const request = {
    term,
    limit,
    credentials: credentialsOf(call.request.headers["x-registry-auth"]),
    hosts: engine.registry.hosts(),
  };
  const { results } = await ask(engine.registry.client.search(request, { signal: call.signal }));
  call.json(
    200,
    results
      .filter(
        (one) =>
          (automated === undefined || (tellsAutomated && one.isAutomated) === automated) &&
          (official === undefined || one.isOfficial === official) &&
          Number(one.starCount) >= Math.max(0, ...stars),
      )
      .map(({ name, description, starCount, isOfficial, isAutomated }) => ({
        star_count: Number(starCount),
        is_official: isOfficial,
        name,
        is_automated: tellsAutomated && isAutomated,
        description,
      })),
  );
}

function searchLimit(call: ApiCall): number {
  try {
    return call.integer("limit") ?? 0;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EngineError("invalid_argument", `invalid limit specified: ${why}`, { cause });
  }
}

const authSchema = z.object({
  username: z.string().default(""),
  password: z.string().default(""),
  identitytoken: z.string().default(""),
  serveraddress: z.string().default(""),
});

async function logIn(engine: Engine, call: ApiCall): Promise<void> {
  const { username, password, identitytoken, serveraddress } = await call.body(authSchema);
  const request = {
    domain: domainOf(serveraddress),
    credentials: Credentials.fromPartial({ username, password, identityToken: identitytoken }),
    hosts: engine.registry.hosts(),
  };
  const { identityToken } = await ask(engine.registry.client.login(request, { signal: call.signal }));
  call.json(200, { Status: "Login Succeeded", IdentityToken: identityToken });
}

/** `https://index.docker.io/v1/` is Docker Hub's name of old. */
function domainOf(address: string): string {
  const host = address.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "index.docker.io", "registry-1.docker.io"].includes(host) ? "docker.io" : host;
}

async function distribution(engine: Engine, call: ApiCall): Promise<void> {
  const rest = call.param("*");
  if (!rest.endsWith("/json")) throw new EngineError("not_found", "page not found");
  const name = rest.slice(0, -"/json".length);
  if (isImageId(name)) throw new EngineError("internal", "no manifest found for full image ID");
  const reference = withDefaultTag(parseReference(name));
  const request = {
    reference: canonicalString(reference),
    credentials: credentialsOf(call.request.headers["x-registry-auth"]),
    hosts: engine.registry.hosts(),
  };
  const { target, platforms } = await ask(engine.registry.client.resolve(request, { signal: call.signal }));
  call.json(200, {
    Descriptor: { mediaType: target?.mediaType, digest: target?.digest, size: Number(target?.size ?? 0n) },
    Platforms: platforms.map(({ architecture, os, variant }) => ({
      architecture,
      os,
      ...(variant !== "" && { variant }),
    })),
  });
}

async function ask<T>(question: Promise<T>): Promise<T> {
  try {
    return await question;
  } catch (error) {
    throw registryFailure(error);
  }
}
