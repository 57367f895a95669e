import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { EngineError, type ErrorCode, toEngineError } from "@longshore/errors";

export const GRPC_STATUS: Record<ErrorCode, status> = {
  canceled: status.CANCELLED,
  unknown: status.UNKNOWN,
  invalid_argument: status.INVALID_ARGUMENT,
  deadline_exceeded: status.DEADLINE_EXCEEDED,
  not_found: status.NOT_FOUND,
  already_exists: status.ALREADY_EXISTS,
  // gRPC has no conflict. The code itself also travels in a trailer, so dockerd still answers 409.
  conflict: status.FAILED_PRECONDITION,
  permission_denied: status.PERMISSION_DENIED,
  unauthenticated: status.UNAUTHENTICATED,
  resource_exhausted: status.RESOURCE_EXHAUSTED,
  failed_precondition: status.FAILED_PRECONDITION,
  aborted: status.ABORTED,
  out_of_range: status.OUT_OF_RANGE,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
  unavailable: status.UNAVAILABLE,
  data_loss: status.DATA_LOSS,
};

export const CODE_TRAILER = "longshore-code";

const ERROR_CODE = new Map<number, ErrorCode>(
  Object.entries(GRPC_STATUS)
    .filter(([code]) => code !== "conflict")
    .map(([code, grpc]) => [grpc, code as ErrorCode]),
);

/** An error as grpc-js sends it. */
export function toGrpcError(error: unknown): Partial<ServiceError> {
  const { code, message } = toEngineError(error);
  const metadata = new Metadata();
  metadata.set(CODE_TRAILER, code);
  return { code: GRPC_STATUS[code], details: message, metadata };
}

/** An error of a call as the code that the peer meant: from our trailer, else from the gRPC status. */
export function fromGrpcError(error: unknown): EngineError {
  if (!isServiceError(error)) return toEngineError(error);
  return fromStatus(error.code, error.details, error.metadata?.get(CODE_TRAILER)[0], error);
}

/** The same of what the trailers say. */
export function fromStatus(code: number, message: string, trailer: unknown, cause?: unknown): EngineError {
  const meant = isErrorCode(trailer) ? trailer : (ERROR_CODE.get(code) ?? "unknown");
  return new EngineError(meant, message, { cause });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "details" in error && "code" in error;
}

function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(GRPC_STATUS, value);
}
