import { HealthCheckResponse_ServingStatus, HealthDefinition } from "@longshore/api/grpc/health/v1/health";
import {
  type Hosts,
  RegistryDefinition,
  type Credentials as WireCredentials,
} from "@longshore/api/longshore/registry/v1/registry";
import { EngineError, toEngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { parseReference, withDefaultTag } from "@longshore/reference";
import { type RpcServer, serve } from "@longshore/rpc";
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
import { logIn } from "./registry/login.ts";
import { Repository } from "./registry/repository.ts";
import { search } from "./registry/search.ts";
import type { RegistryOptions } from "./registry/session.ts";
import { resolve } from "./resolve.ts";

export interface ServerDeps extends PullDeps {
  containerd: ContainerdChannels;
  log: Logger;
}

/** The gRPC server of this service, not yet listening. */
export function createServer({ containerd, log, ...deps }: ServerDeps): RpcServer {
  const server = serve();
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
      const registry = withHosts(deps.registry, request.hosts);
      const events = () => pull(job, { ...deps, registry }, signal);
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
      };
      const events = () => push(job, withHosts(deps.registry, request.hosts), signal);
      for await (const event of logged("push", request, { signal, events })) yield toWirePushEvent(event);
    },
    async resolve(request, { signal }) {
      const repository = repositoryOf(request, deps.registry);
      const { descriptor, platforms } = await resolve(repository, signal);
      return {
        target: toWireDescriptor(descriptor),
        platforms: platforms.map(toWirePlatform),
        rateLimit: toWireRateLimit(repository.rateLimit),
      };
    },
    async listTags(request, { signal }) {
      return { tags: await repositoryOf(request, deps.registry).tags(signal) };
    },
    async search({ term, limit, credentials, hosts }, { signal }) {
      const job = { term, limit, credentials: fromWireCredentials(credentials) };
      const hits = await search(job, withHosts(deps.registry, hosts), signal);
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
      const registry = withHosts(deps.registry, hosts);
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

function repositoryOf(
  request: { reference: string; credentials: WireCredentials | undefined; hosts: Hosts | undefined },
  registry: RegistryOptions,
): Repository {
  const reference = withDefaultTag(parseReference(request.reference));
  return new Repository(
    reference,
    fromWireCredentials(request.credentials),
    withHosts(registry, request.hosts),
  );
}

/** A caller's registries beside our own. */
function withHosts(registry: RegistryOptions, hosts: Hosts | undefined): RegistryOptions {
  if (!hosts) return registry;
  return {
    ...registry,
    insecureRegistries: [...registry.insecureRegistries, ...hosts.insecureRegistries],
    mirrors: [...registry.mirrors, ...hosts.mirrors],
  };
}
