import { EngineError } from "@longshore/errors";

/** JSON as somebody wrote it; `what` names it in the error. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("invalid_argument", `${what} is not JSON: ${why}`, { cause: error });
  }
}
