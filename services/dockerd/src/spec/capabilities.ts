import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import { CAPABILITIES } from "@longshore/oci";

/** What a container has unless told otherwise: Docker's fourteen. */
const DEFAULT =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    .split(" ")
    .map((name) => `CAP_${name}`);

export interface CapabilityRequest {
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
  /** What this host can give; this process's own, unless given. */
  available?: readonly string[];
}

/**
 * The capabilities of a container's process. `ALL` stands for every one; with it, the other list takes away or adds.
 * @throws EngineError `invalid_argument` for an unknown name
 * @see moby `daemon/pkg/oci/caps/utils.go`
 */
export function capabilitiesOf(request: CapabilityRequest): string[] {
  const { add, drop, privileged, available = hostCapabilities() } = request;
  if (privileged) return [...available];
  const added = add.map((name) => normalize("CapAdd", name));
  const dropped = drop.map((name) => normalize("CapDrop", name));
  if (added.includes("ALL")) return available.filter((name) => !dropped.includes(name));
  if (dropped.includes("ALL")) return added;
  const kept = DEFAULT.filter((name) => !dropped.includes(name));
  return [...kept, ...added.filter((name) => !kept.includes(name))];
}

/** A capability's full name from what users write: `net_admin`, `CAP_NET_ADMIN`, `ALL`. */
function normalize(field: string, name: string): string {
  const upper = name.toUpperCase();
  if (upper === "ALL") return upper;
  const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (CAPABILITIES.includes(full)) return full;
  throw new EngineError("invalid_argument", `invalid ${field}: unknown capability: ${JSON.stringify(full)}`);
}

let host: string[] | undefined;

/** The bounding set of this process: nobody can give more. */
function hostCapabilities(): string[] {
  host ??= readBoundingSet(fs.readFileSync("/proc/self/status", "utf8"));
  return host;
}

/** Names of the capabilities in the bounding set of a `/proc/<pid>/status`. */
export function readBoundingSet(status: string): string[] {
  const bits = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return CAPABILITIES.filter((_, number) => (bits >> BigInt(number)) & 1n);
}
