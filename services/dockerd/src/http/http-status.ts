import { type ErrorCode, toEngineError } from "@longshore/errors";

const HTTP_STATUS: Record<ErrorCode, number> = {
  canceled: 499,
  unknown: 500,
  invalid_argument: 400,
  deadline_exceeded: 504,
  not_found: 404,
  already_exists: 409,
  conflict: 409,
  permission_denied: 403,
  unauthenticated: 401,
  resource_exhausted: 413,
  failed_precondition: 409,
  aborted: 409,
  out_of_range: 400,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  data_loss: 500,
};

/** The status and the message of anything thrown, as Docker's `{"message": …}` answer has them. */
export function toHttpError(error: unknown): { status: number; message: string } {
  const { code, message } = toEngineError(error);
  return { status: HTTP_STATUS[code], message };
}
