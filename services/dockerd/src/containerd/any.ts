import type { Any } from "@longshore/api/google/protobuf/any";

/** Type names under which containerd carries the OCI runtime specification's documents. */
export const SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
export const PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process";
export const RESOURCES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/** An Any with JSON inside, as containerd makes of what isn't protobuf. */
export function jsonAny(typeUrl: string, value: unknown): Any {
  return { typeUrl, value: Buffer.from(JSON.stringify(value)) };
}
