import type { Status } from "@longshore/api/google/rpc/status";
import { EngineError, type ErrorCode, toEngineError } from "@longshore/errors";

/** google.rpc.Code, by our names. */
const RPC_CODE: Record<ErrorCode, number> = {
  canceled: 1,
  unknown: 2,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  // google.rpc has no conflict.
  conflict: 9,
  aborted: 10,
  out_of_range: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
};

const ERROR_CODE = new Map<number, ErrorCode>(
  Object.entries(RPC_CODE)
    .filter(([code]) => code !== "conflict")
    .map(([code, rpc]) => [rpc, code as ErrorCode]),
);

/** Anything thrown as a response carries it. */
export function toRpcStatus(error: unknown): Status {
  const { code, message } = toEngineError(error);
  return { code: RPC_CODE[code], message, details: [] };
}

/** The failure in a response; undefined when there is none. */
export function fromRpcStatus(status: Status | undefined): EngineError | undefined {
  if (!status || status.code === 0) return undefined;
  return new EngineError(ERROR_CODE.get(status.code) ?? "unknown", status.message);
}
