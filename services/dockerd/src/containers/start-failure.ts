import { EngineError, toEngineError } from "@longshore/errors";

export const CANNOT_INVOKE = 126;
const NOT_FOUND = 127;
/** Of a container; an exec has {@link CANNOT_INVOKE}. */
export const UNKNOWN = 128;

/**
 * The exit code and the error of a failed start. Runtimes tell why in words alone, and clients decide on these words between
 * 126 and 127, so here the text counts.
 * @see moby `daemon/errors.go`, setExitCodeFromError
 */
export function explainStartFailure(error: unknown): { exitCode: number; failure: EngineError } {
  const { code, message } = toEngineError(error);
  const text = message.toLowerCase();
  const refused = (exitCode: number, suffix = "") => ({
    exitCode,
    failure: new EngineError("invalid_argument", message + suffix, { cause: error }),
  });
  if (text.includes("permission denied")) return refused(CANNOT_INVOKE);
  if (text.includes("is a directory")) return refused(CANNOT_INVOKE, ": permission denied");
  if (text.includes("not a directory")) {
    return refused(
      NOT_FOUND,
      ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
    );
  }
  if (text.includes("executable file not found") || text.includes("no such file or directory")) {
    return refused(NOT_FOUND);
  }
  const kept =
    (["invalid_argument", "conflict", "not_found"] as const).find((one) => one === code) ?? "internal";
  return { exitCode: UNKNOWN, failure: new EngineError(kept, message, { cause: error }) };
}
