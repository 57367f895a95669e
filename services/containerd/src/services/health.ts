import { HealthCheckResponse_ServingStatus, HealthDefinition } from "@longshore/api/grpc/health/v1/health";
import { EngineError } from "@longshore/errors";
import type { ContainerdPlugin } from "../plugin.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** grpc.health.v1: the daemon as a whole (the empty name) serves from its first answer to its end. */
export const healthPlugin: ContainerdPlugin = {
  type: "io.containerd.grpc.v1",
  id: "healthcheck",
  requires: [],
  async start({ server, signal: stopping }) {
    server.add(HealthDefinition, {
      check({ service }) {
        if (service !== "") throw new EngineError("not_found", "unknown service");
        return { status: stopping.aborted ? NOT_SERVING : SERVING };
      },
      async *watch({ service }, { signal }) {
        yield { status: service === "" ? SERVING : SERVICE_UNKNOWN };
        await aborted(AbortSignal.any([signal, stopping]));
        if (service === "" && stopping.aborted) yield { status: NOT_SERVING };
      },
    });
    return undefined;
  },
};

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
