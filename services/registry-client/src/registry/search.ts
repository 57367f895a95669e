import { EngineError } from "@longshore/errors";
import { catalog } from "./catalog.ts";
import { basicAuthorization, type Credentials } from "./credentials.ts";
import { certificatesFor, isInsecure } from "./hosts.ts";
import { DEFAULT_LIMITS, type HttpResponse, send, type Via } from "./http.ts";
import type { RegistryOptions } from "./session.ts";

export interface SearchHit {
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  readonly official: boolean;
  readonly automated: boolean;
}

export interface SearchJob {
  /** What to look for, with the host of a registry before it or not. */
  term: string;
  /** At most; 1 to 100. */
  limit: number;
  credentials: Credentials;
}

const INDEX_HOST = "index.docker.io";
const ANSWER_LIMIT_BYTES = 4 << 20;
const LIMIT_DEFAULT = 25;
const LIMIT_MAX = 100;

/**
 * Look for repositories: at Docker Hub by its index; at any other registry by its index if it has one, else by the names in its catalog.
 * @throws EngineError `invalid_argument` for a limit out of range
 */
export async function search(
  { term, limit, credentials }: SearchJob,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<SearchHit[]> {
  const wanted = limit === 0 ? LIMIT_DEFAULT : limit;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > LIMIT_MAX) {
    throw new EngineError("invalid_argument", `limit ${limit} is outside the range of [1, ${LIMIT_MAX}]`);
  }
  const { domain, rest } = splitTerm(term);
  if (domain === INDEX_HOST) return searchIndex({ domain, rest, wanted, credentials }, registry, signal);
  const names = await catalog(domain, { credentials, registry, signal });
  return names
    .filter((name) => name.toLowerCase().includes(rest.toLowerCase()))
    .sort((a, b) => rank(a, rest) - rank(b, rest) || (a < b ? -1 : 1))
    .slice(0, wanted)
    .map((name) => ({
      name: `${domain}/${name}`,
      description: "",
      stars: 0,
      official: false,
      automated: false,
    }));
}

/** `quay.example/etcd` is about that registry; `library/x` is about Docker Hub, which knows its official images without `library/`. */
export function splitTerm(term: string): { domain: string; rest: string } {
  const bare = term.replace(/^https?:\/\//, "");
  const slash = bare.indexOf("/");
  const first = slash < 0 ? "" : bare.slice(0, slash);
  if (
    first !== "" &&
    (first === "localhost" || /[.:]/.test(first)) &&
    !/^(index\.)?docker\.io$/.test(first)
  ) {
    return { domain: first, rest: bare.slice(slash + 1) };
  }
  const rest = /^(index\.)?docker\.io$/.test(first) ? bare.slice(slash + 1) : bare;
  return { domain: INDEX_HOST, rest: rest.replace(/^library\//, "") };
}

/** The name itself, then what begins with it, then the others. */
function rank(name: string, term: string): number {
  const last = name.split("/").at(-1) ?? name;
  return last === term || name === term ? 0 : last.startsWith(term) ? 1 : 2;
}

async function searchIndex(
  {
    domain,
    rest,
    wanted,
    credentials,
  }: { domain: string; rest: string; wanted: number; credentials: Credentials },
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<SearchHit[]> {
  const via: Via = {
    insecure: isInsecure(domain, domain, registry),
    certificates: (host) => certificatesFor(host, registry),
    proxies: registry.proxies ?? { httpProxy: "", httpsProxy: "", noProxy: "" },
  };
  const url = new URL(`https://${domain}/v1/search`);
  url.searchParams.set("q", rest);
  url.searchParams.set("n", String(wanted));
  const headers: Record<string, string> = { "x-docker-token": "true" };
  if (credentials.username && credentials.password) headers.authorization = basicAuthorization(credentials);
  const response = await send(
    { method: "GET", url, headers, via, signal },
    registry.limits ?? DEFAULT_LIMITS,
  );
  if (response.status !== 200) {
    await response.discard();
    throw new EngineError(
      response.status >= 500 ? "unavailable" : "unknown",
      `Unexpected status code ${response.status}`,
    );
  }
  return parseHits(await read(response));
}

async function read(response: HttpResponse): Promise<unknown> {
  try {
    return JSON.parse((await response.bytes(ANSWER_LIMIT_BYTES)).toString());
  } catch (error) {
    throw new EngineError("data_loss", "error decoding registry search results", { cause: error });
  }
}

/** @throws EngineError `data_loss` for an answer that is no list of results */
export function parseHits(answer: unknown): SearchHit[] {
  const { results } = (answer ?? {}) as { results?: unknown };
  if (!Array.isArray(results)) throw new EngineError("data_loss", "error decoding registry search results");
  return results.flatMap((result: unknown) => {
    const hit = (typeof result === "object" && result !== null ? result : {}) as Record<string, unknown>;
    if (typeof hit.name !== "string") return [];
    return [
      {
        name: hit.name,
        description: typeof hit.description === "string" ? hit.description : "",
        stars:
          typeof hit.star_count === "number" && Number.isSafeInteger(hit.star_count) ? hit.star_count : 0,
        official: hit.is_official === true,
        automated: hit.is_automated === true,
      },
    ];
  });
}
