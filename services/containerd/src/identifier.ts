import { EngineError } from "@longshore/errors";

const MAX_LENGTH = 76;
const SOURCE = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$";
const IDENTIFIER = new RegExp(SOURCE);

/**
 * Refuse what may not name a container, an exec process, a namespace or a part of a topic. Whatever passes is safe as one component
 * of a path.
 * @throws EngineError `invalid_argument`
 * @see containerd, `pkg/identifiers`
 */
export function validateIdentifier(value: string): void {
  if (value === "")
    throw new EngineError("invalid_argument", "identifier must not be empty: invalid argument");
  if (value.length > MAX_LENGTH) {
    throw new EngineError(
      "invalid_argument",
      `identifier ${JSON.stringify(value)} greater than maximum length (${MAX_LENGTH} characters): invalid argument`,
    );
  }
  if (!IDENTIFIER.test(value)) {
    throw new EngineError(
      "invalid_argument",
      `identifier ${JSON.stringify(value)} must match ${SOURCE}: invalid argument`,
    );
  }
}

/** `validateIdentifier` with what the identifier is of in front of the message. */
export function validateIdentifierOf(what: string, value: string): void {
  try {
    validateIdentifier(value);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError(error.code, `${what}: ${error.message}`);
  }
}
