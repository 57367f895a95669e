import { EventsDefinition } from "@longshore/api/containerd/services/ttrpc/events/v1/events";
import { EngineError } from "@longshore/errors";
import { serveTtrpc } from "@longshore/ttrpc";
import type { ContainerdPlugin } from "../plugin.ts";
import type { Runtime } from "./runtime.ts";

/** Metadata of an event whose sender has told NATS itself: `nats`. */
const PUBLISHED_KEY = "longshore-published";

/** ttrpc: the endpoint that shims forward their events to. */
export function shimEventsPlugin(address: string, runtimeOf: () => Runtime): ContainerdPlugin {
  return {
    type: "io.containerd.server.v1",
    id: "ttrpc",
    requires: ["io.containerd.runtime.v2"],
    exports: () => ({ address }),
    async start() {
      const { exits } = runtimeOf();
      const server = serveTtrpc();
      server.add(EventsDefinition, {
        forward({ envelope }, context) {
          if (!envelope) throw new EngineError("invalid_argument", "no envelope to forward");
          exits.forward(envelope, { onNats: context.metadata(PUBLISHED_KEY) === "nats" });
          return {};
        },
      });
      server.listen(address);
      return {
        async [Symbol.asyncDispose]() {
          server.close();
        },
      };
    },
  };
}
