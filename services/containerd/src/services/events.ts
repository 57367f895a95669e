import { EventsDefinition } from "@longshore/api/containerd/services/events/v1/events";
import { EngineError } from "@longshore/errors";
import { type Envelope, validateTopic } from "../events/envelope.ts";
import { envelopeFilter } from "../events/envelope-filter.ts";
import type { Exchange } from "../events/exchange.ts";
import { requireNamespace } from "../namespace.ts";
import type { ContainerdPlugin } from "../plugin.ts";

/** gRPC: publish, forward and subscribe. */
export function eventsPlugin(exchange: Exchange): ContainerdPlugin {
  return {
    type: "io.containerd.grpc.v1",
    id: "events",
    requires: ["io.containerd.event.v1"],
    async start({ server, signal: stopping }) {
      server.add(EventsDefinition, {
        publish({ topic, event }, context) {
          const namespace = requireNamespace(context);
          validateTopic(topic);
          if (!event) throw new EngineError("invalid_argument", "no event to publish");
          exchange.publish(namespace, topic, event);
          return {};
        },
        forward({ envelope }) {
          exchange.forward(required(envelope));
          return {};
        },
        async *subscribe({ filters }, context) {
          const matches = envelopeFilter(filters);
          using subscription = exchange.subscribe(matches);
          yield* subscription.read(AbortSignal.any([context.signal, stopping]));
        },
      });
      return undefined;
    },
  };
}

function required(envelope: Envelope | undefined): Envelope {
  if (envelope) return envelope;
  throw new EngineError("invalid_argument", "no envelope to forward");
}
