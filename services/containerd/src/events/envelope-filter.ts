import { parseFilters } from "../metadata/filter.ts";
import { eventField } from "./decode.ts";
import type { Envelope } from "./envelope.ts";

/**
 * A predicate from containerd's filters over `namespace`, `topic` and `event.<field>`.
 * @throws EngineError `invalid_argument`
 */
export function envelopeFilter(filters: readonly string[]): (envelope: Envelope) => boolean {
  const matches = parseFilters(filters);
  return (envelope) =>
    matches(([name, ...rest]) => {
      if (name === "namespace") return envelope.namespace || undefined;
      if (name === "topic") return envelope.topic || undefined;
      if (name === "event") return eventField(envelope.event, rest);
      return undefined;
    });
}
