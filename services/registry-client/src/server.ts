import { HealthCheckResponse_ServingStatus, HealthDefinition } from "@longshore/api/grpc/health/v1/health";
import { RegistryDefinition } from "@longshore/api/longshore/registry/v1/registry";
import { EngineError, toEngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { parseReference, withDefaultTag } from "@longshore/reference";
import { type RpcServer, serve } from "@longshore/rpc";
import type { ContainerdChannels } from "./containerd-channels.ts";
import { ContentStore } from "./content-store.ts";
import {
  fromWireCredentials,
  fromWirePlatform,
  toWireDescriptor,
  toWireEvent,
  toWirePlatform,
} from "./convert.ts";
import { type PullDeps, pull, resolve } from "./pull.ts";
import type { RegistryOptions } from "./registry/repository.ts";

export interface ServerDeps extends PullDeps {
  containerd: ContainerdChannels;
  log: Logger;
}

/** The gRPC server of this service, not yet listening. */
export function createServer({ containerd, log, ...deps }: ServerDeps): RpcServer {
  const server = serve();
  server.add(RegistryDefinition, {
    async *pull(request, { signal }) {
      const reference = withDefaultTag(parseReference(request.reference));
      const { namespace, lease } = request;
      if (!namespace) throw new EngineError("invalid_argument", "a pull needs a containerd namespace");
      const started = performance.now();
      try {
        const job = {
          reference,
          platform: fromWirePlatform(request.platform),
          credentials: fromWireCredentials(request.credentials),
          store: new ContentStore(containerd, { namespace, lease }),
        };
        const here = { ...deps, registry: withHosts(deps.registry, request) };
        for await (const event of pull(job, here, signal)) yield toWireEvent(event);
        const ms = Math.round(performance.now() - started);
        log.info({ reference: request.reference, namespace, ms }, "pulled");
      } catch (error) {
        if (signal.aborted) {
          log.info({ reference: request.reference, namespace }, "pull cancelled");
          throw new EngineError("canceled", "the pull was cancelled", { cause: error });
        }
        const { code, message } = toEngineError(error);
        log.warn({ reference: request.reference, namespace, code, err: message }, "pull failed");
        throw error;
      }
    },
    async resolve(request, { signal }) {
      const reference = withDefaultTag(parseReference(request.reference));
      const credentials = fromWireCredentials(request.credentials);
      const { target, platforms } = await resolve(
        { reference, credentials },
        withHosts(deps.registry, request),
        signal,
      );
      return { target: toWireDescriptor(target), platforms: platforms.map(toWirePlatform) };
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

/** A caller's registries beside our own. */
function withHosts(
  registry: RegistryOptions,
  { insecureRegistries, mirrors }: { insecureRegistries: readonly string[]; mirrors: readonly string[] },
): RegistryOptions {
  return {
    ...registry,
    insecureRegistries: [...registry.insecureRegistries, ...insecureRegistries],
    mirrors: [...registry.mirrors, ...mirrors],
  };
}
