import type { Envelope } from "@longshore/api/containerd/types/event";
import { EngineError } from "@longshore/errors";
import { validateIdentifier, validateIdentifierOf } from "../identifier.ts";

export type { Envelope };

/**
 * A topic is a path: `/tasks/exit`.
 * @throws EngineError `invalid_argument`
 */
export function validateTopic(topic: string): void {
  const refuse = (why: string): never => {
    throw new EngineError(
      "invalid_argument",
      `envelope topic ${JSON.stringify(topic)}: ${why}: invalid argument`,
    );
  };
  if (topic === "") refuse("must not be empty");
  if (!topic.startsWith("/")) refuse("must start with '/'");
  if (topic === "/") refuse("must have at least one component");
  for (const component of topic.slice(1).split("/")) {
    try {
      validateIdentifier(component);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      const why = error.message.replace(/: invalid argument$/, "");
      refuse(`failed validation on component ${JSON.stringify(component)}: ${why}`);
    }
  }
}

/** @throws EngineError `invalid_argument` for an envelope that can't be passed on */
export function validateEnvelope(envelope: Envelope): void {
  validateIdentifierOf("event envelope has invalid namespace", envelope.namespace);
  validateTopic(envelope.topic);
  if (!envelope.timestamp) {
    throw new EngineError("invalid_argument", "timestamp must be set on forwarded event");
  }
}
