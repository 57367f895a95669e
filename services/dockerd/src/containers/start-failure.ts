import { EngineError, type ErrorCode, toEngineError } from "@longshore/errors";

/** Also of an exec that doesn't come to its runtime. */
export const CANNOT_INVOKE = 126;
const NOT_FOUND = 127;
const UNKNOWN = 128;

/** Errors that runtimes have answered with. */
const ofRuntime = new WeakSet<EngineError>();

/** Wait for the answer of a container's runtime, whose failures are told apart from others by `startFailure`. */
export async function byRuntime<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const failure = toEngineError(error);
    ofRuntime.add(failure);
    throw failure;
  }
}

export interface StartFailure {
  exitCode: number;
  failure: EngineError;
}

/**
 * The exit code and the error of a start that failed. Before it comes to a runtime there is no command yet that is missing: a container
 * keeps the exit code that it has, if that tells of a failure.
 */
export function startFailure(error: unknown, before: number): StartFailure {
  const known = toEngineError(error);
  if (ofRuntime.has(known)) return explainStartFailure(known);
  const { code, message } = known;
  return { exitCode: before || UNKNOWN, failure: new EngineError(kept(code), message, { cause: error }) };
}

/**
 * The exit code and the error of a runtime that fails. Runtimes tell why in words alone, and clients decide on these words between
 * 126 and 127, so here the text counts.
 * @see moby `daemon/errors.go`, setExitCodeFromError
 */
export function explainStartFailure(error: unknown): StartFailure {
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
  return { exitCode: UNKNOWN, failure: new EngineError(kept(code), message, { cause: error }) };
}

function kept(code: ErrorCode): ErrorCode {
  return ["invalid_argument", "conflict", "not_found"].includes(code) ? code : "internal";
}
