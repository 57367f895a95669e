import { EngineError } from "@longshore/errors";
import type { CallContext } from "@longshore/rpc";
import { validateIdentifierOf } from "./identifier.ts";

/** gRPC metadata that names the namespace of a call. */
export const NAMESPACE_HEADER = "containerd-namespace";

/**
 * The namespace of a call.
 * @throws EngineError `failed_precondition` without the header, `invalid_argument` for a name that can't be one
 */
export function requireNamespace(context: Pick<CallContext, "metadata">): string {
  const namespace = context.metadata(NAMESPACE_HEADER);
  if (!namespace) throw new EngineError("failed_precondition", "namespace is required: failed precondition");
  validateIdentifierOf("namespace validation", namespace);
  return namespace;
}
