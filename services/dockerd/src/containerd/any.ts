import type { Any } from "@longshore/api/google/protobuf/any";

/** Type names under which containerd carries the OCI runtime specification's documents. */
export const SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
export const PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process";
export const RESOURCES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

const UNLIMITED = "18446744073709551615";

/** An Any with JSON inside, as containerd makes of what isn't protobuf. */
export function jsonAny(typeUrl: string, value: unknown): Any {
  // No number of JavaScript is as large as what "unlimited" is among the limits of a process.
  const text = JSON.stringify(value).replaceAll(/"(soft|hard)":-1(?=[,}])/g, `"$1":${UNLIMITED}`);
  return { typeUrl, value: Buffer.from(text) };
}
