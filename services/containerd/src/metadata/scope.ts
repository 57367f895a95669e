import type { CallContext } from "@longshore/rpc";
import { requireNamespace } from "../namespace.ts";

/** gRPC metadata that names the lease which what a call makes is put under. */
export const LEASE_HEADER = "containerd-lease";

/** Whose data a call works on. */
export interface Scope {
  readonly namespace: string;
  readonly lease?: string;
}

/** @throws EngineError `failed_precondition` without a namespace */
export function scopeOf(context: Pick<CallContext, "metadata">): Scope {
  const namespace = requireNamespace(context);
  const lease = context.metadata(LEASE_HEADER);
  return lease ? { namespace, lease } : { namespace };
}
