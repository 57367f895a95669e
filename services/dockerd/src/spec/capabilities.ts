import { EngineError } from "@longshore/errors";

/** All capabilities of Linux 5.9 and later, by number. */
const ALL = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST " +
  "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE " +
  "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG " +
  "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);

/** What a container has unless told otherwise: Docker's fourteen. */
const DEFAULT =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    .split(" ")
    .map((name) => `CAP_${name}`);

export interface CapabilityRequest {
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
}

/**
 * The capabilities of a container's process. `ALL` stands for every one; with it, the other list takes away or adds.
 * @throws EngineError `invalid_argument` for an unknown name
 * @see moby `daemon/pkg/oci/caps/utils.go`
 */
export function capabilitiesOf({ add, drop, privileged }: CapabilityRequest): string[] {
  if (privileged) return [...ALL];
  const added = add.map(normalize);
  const dropped = drop.map(normalize);
  if (added.includes("ALL")) return ALL.filter((name) => !dropped.includes(name));
  if (dropped.includes("ALL")) return added;
  const kept = DEFAULT.filter((name) => !dropped.includes(name));
  return [...kept, ...added.filter((name) => !kept.includes(name))];
}

/** A capability's full name from what users write: `net_admin`, `CAP_NET_ADMIN`, `ALL`. */
function normalize(name: string): string {
  const upper = name.toUpperCase();
  if (upper === "ALL") return upper;
  const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (ALL.includes(full)) return full;
  throw new EngineError(
    "invalid_argument",
    `invalid CapAdd or CapDrop: unknown capability: ${JSON.stringify(full)}`,
  );
}
