import { HealthCheckResponse_ServingStatus, HealthDefinition } from "@longshore/api/grpc/health/v1/health";
import {
  type Hosts,
  RegistryDefinition,
  type Credentials as WireCredentials,
} from "@longshore/api/longshore/registry/v1/registry";
import { EngineError, toEngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { parseReference, withDefaultTag } from "@longshore/reference";
import { type RpcServer, serve, tidyAtRest } from "@longshore/rpc";
import type { ContainerdChannels } from "./containerd-channels.ts";
import { ContentStore } from "./content-store.ts";
import {
  fromWireCredentials,
  fromWireDescriptor,
  fromWirePlatform,
  toWireDescriptor,
  toWireEvent,
  toWirePlatform,
  toWirePushEvent,
  toWireRateLimit,
} from "./convert.ts";
import { storedImage } from "./image-source.ts";
import { type PullDeps, pull } from "./pull.ts";
import { push } from "./push.ts";
import { isInNetwork } from "./registry/hosts.ts";
import { DEFAULT_LIMITS } from "./registry/http.ts";
import { logIn } from "./registry/login.ts";
import { withOwnProxies } from "./registry/proxies.ts";
import { Repository } from "./registry/repository.ts";
import { search, splitTerm } from "./registry/search.ts";
import type { RegistryOptions } from "./registry/session.ts";
import { resolve } from "./resolve.ts";
import { Transfers } from "./transfers.ts";

export interface ServerDeps extends PullDeps {
  containerd: ContainerdChannels;
  log: Logger;
}

/** The gRPC server of this service, not yet listening. */
export function createServer({ containerd, log, ...deps }: ServerDeps): RpcServer {
  const server = serve({ onCall: tidyAtRest({ code: true }) });
  const transfers = new Transfers();
  /** Pass events on, and tell in the log how it ended. */
  async function* logged<T>(
    what: "pull" | "push",
    { reference, namespace }: { reference: string; namespace: string },
    { signal, events }: { signal: AbortSignal; events: () => AsyncIterable<T> },
  ): AsyncGenerator<T> {
    if (!namespace) throw new EngineError("invalid_argument", `a ${what} needs a containerd namespace`);
    const started = performance.now();
    try {
      yield* events();
      const ms = Math.round(performance.now() - started);
      log.info({ reference, namespace, ms }, `${what}ed`);
    } catch (error) {
      if (signal.aborted) {
        log.info({ reference, namespace }, `${what} cancelled`);
        throw new EngineError("canceled", `the ${what} was cancelled`, { cause: error });
      }
      const { code, message } = toEngineError(error);
      log.warn({ reference, namespace, code, err: message }, `${what} failed`);
      throw error;
    }
  }
  server.add(RegistryDefinition, {
    async *pull(request, { signal }) {
      const reference = withDefaultTag(parseReference(request.reference));
      const { namespace, lease } = request;
      const job = {
        reference,
        platform: fromWirePlatform(request.platform),
        credentials: fromWireCredentials(request.credentials),
        store: new ContentStore(containerd, { namespace, lease }),
      };
      const registry = await withHosts(deps.registry, request.hosts, reference.domain, signal);
      const limits = transfers.downloads(request.hosts?.transfers);
      const events = () => pull(job, { ...deps, registry, limits }, signal);
      for await (const event of logged("pull", request, { signal, events })) yield toWireEvent(event);
    },
    async *push(request, { signal }) {
      const reference = withDefaultTag(parseReference(request.reference));
      const { namespace, platform, nondistributable } = request;
      const target = fromWireDescriptor(request.target);
      if (reference.digest !== undefined && reference.digest !== target.digest) {
        throw new EngineError(
          "invalid_argument",
          `${request.reference} is not the digest of ${target.digest}`,
        );
      }
      const job = {
        ...{ reference, target, nondistributable },
        credentials: fromWireCredentials(request.credentials),
        source: storedImage(new ContentStore(containerd, { namespace })),
        platform: platform && fromWirePlatform(platform),
        slots: transfers.uploads(request.hosts?.transfers),
      };
      const registry = await withHosts(deps.registry, request.hosts, reference.domain, signal);
      const events = () => push(job, registry, signal);
      for await (const event of logged("push", request, { signal, events })) yield toWirePushEvent(event);
    },
    async resolve(request, { signal }) {
      const repository = await repositoryOf(request, deps.registry, signal);
      const { descriptor, platforms } = await resolve(repository, signal);
      return {
        target: toWireDescriptor(descriptor),
        platforms: platforms.map(toWirePlatform),
        rateLimit: toWireRateLimit(repository.rateLimit),
      };
    },
    async listTags(request, { signal }) {
      const repository = await repositoryOf(request, deps.registry, signal);
      return { tags: await repository.tags(signal) };
    },
    async search({ term, limit, credentials, hosts }, { signal }) {
      const job = { term, limit, credentials: fromWireCredentials(credentials) };
      const registry = await withHosts(deps.registry, hosts, splitTerm(term).domain, signal);
      const hits = await search(job, registry, signal);
      return {
        results: hits.map(({ name, description, stars, official, automated }) => ({
          ...{ name, description },
          starCount: BigInt(stars),
          isOfficial: official,
          isAutomated: automated,
        })),
      };
    },
    async login({ domain, credentials, hosts }, { signal }) {
      const registry = await withHosts(deps.registry, hosts, domain, signal);
      return { identityToken: await logIn(domain, fromWireCredentials(credentials), registry, signal) };
    },
  });
  const health = { status: HealthCheckResponse_ServingStatus.SERVING };
  server.add(HealthDefinition, {
    check: () => health,
    async *watch(_request, { signal }) {
      yield health;
      await new Promise<void>((ended) => signal.addEventListener("abort", () => ended(), { once: true }));
    },
  });
  return server;
}

async function repositoryOf(
  request: { reference: string; credentials: WireCredentials | undefined; hosts: Hosts | undefined },
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<Repository> {
  const reference = withDefaultTag(parseReference(request.reference));
  return new Repository(
    reference,
    fromWireCredentials(request.credentials),
    await withHosts(registry, request.hosts, reference.domain, signal),
  );
}

/** A caller's registries beside our own, for requests to one of them. */
async function withHosts(
  registry: RegistryOptions,
  hosts: Hosts | undefined,
  domain: string,
  signal: AbortSignal,
): Promise<RegistryOptions> {
  if (!hosts) return registry;
  const insecure = [...registry.insecureRegistries, ...hosts.insecureRegistries];
  const { proxies, transfers } = hosts;
  const attempts = transfers?.maxAttempts || undefined;
  return {
    ...registry,
    insecureRegistries: (await isInNetwork(domain, insecure, signal)) ? [...insecure, domain] : insecure,
    mirrors: [...registry.mirrors, ...hosts.mirrors],
    ...(proxies && { proxies: withOwnProxies(proxies, registry.proxies) }),
    ...(attempts !== undefined && { limits: { ...(registry.limits ?? DEFAULT_LIMITS), attempts } }),
  };
}
