/** What kind of failure it is; each edge (HTTP, gRPC, exit code) has one table from these to its own codes. */
export type ErrorCode =
  | "canceled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "conflict"
  | "permission_denied"
  | "unauthenticated"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss";

/** A failure that its thrower understood: callers decide on `code`, people read `message`. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The code of anything thrown; what is not an EngineError is a bug or an unexpected system error: `internal`. */
export function errorCode(thrown: unknown): ErrorCode {
  const error = firstError(thrown);
  return isEngineError(error) ? error.code : "internal";
}

/** Anything thrown as an EngineError, the original kept as its cause. */
export function toEngineError(thrown: unknown): EngineError {
  const error = firstError(thrown);
  if (isEngineError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new EngineError("internal", message, { cause: error });
}

/** By name: a file that is loaded later, of the same executable, has a class of its own. */
function isEngineError(error: unknown): error is EngineError {
  return error instanceof Error && error.name === "EngineError" && "code" in error;
}

/** What went wrong, when undoing it (by `using`) went wrong as well: that says nothing without the other. */
function firstError(thrown: unknown): unknown {
  let error = thrown;
  while (error instanceof Error && "suppressed" in error) error = error.suppressed;
  return error;
}
