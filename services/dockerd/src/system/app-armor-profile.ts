export interface ProfileOptions {
  name: string;
  /** The profile that the daemon itself has. */
  daemon: string;
  /** Whether /etc/apparmor.d has `tunables/global` and `abstractions/base`. */
  hasTunables: boolean;
  hasBase: boolean;
}

/**
 * Files of /proc and /sys that containers don't write to. The patterns exclude one letter at a time,
 * as AppArmor has no other way to exclude a name.
 */
const NOT_WRITTEN = [
  // Files of /proc itself.
  "@{PROC}/*",
  // Directories of /proc that are neither a process's nor `sys`.
  "@{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/**",
  // Of /proc/sys only kernel/shm*.
  "@{PROC}/sys/[^k]**",
  "@{PROC}/sys/kernel/{?,??,[^s][^h][^m]**}",
];

/** Not even read. */
const HIDDEN = ["@{PROC}/sysrq-trigger", "@{PROC}/kcore", "/sys/firmware/**", "/sys/kernel/security/**"];

/** Of /sys only fs/cgroup may be written to. */
const NOT_CHANGED = [
  "/sys/[^f]*/**",
  "/sys/f[^s]*/**",
  "/sys/fs/[^c]*/**",
  "/sys/fs/c[^g]*/**",
  "/sys/fs/cg[^r]*/**",
];

/** The text of the profile that containers have by default: the rules are Docker's. */
export function defaultProfile({ name, daemon, hasTunables, hasBase }: ProfileOptions): string {
  const rules = [
    ...(hasBase ? ["#include <abstractions/base>"] : []),
    "network,",
    "capability,",
    "file,",
    "umount,",
    // From the host, the daemon and the runtime; and among themselves.
    ...[...new Set(["unconfined", daemon, "runc", "crun"])].map(
      (peer) => `signal (receive) peer=${quoted(peer)},`,
    ),
    `signal (send,receive) peer=${quoted(name)},`,
    ...NOT_WRITTEN.map((file) => `deny ${file} w,`),
    ...NOT_CHANGED.map((file) => `deny ${file} wklx,`),
    ...HIDDEN.map((file) => `deny ${file} rwklx,`),
    "deny mount,",
    `ptrace (trace,read,tracedby,readby) peer=${quoted(name)},`,
  ];
  return [
    hasTunables ? "#include <tunables/global>" : "@{PROC}=/proc/",
    `profile ${quoted(name)} flags=(attach_disconnected,mediate_deleted) {`,
    ...rules.map((rule) => `  ${rule}`),
    "}",
    "",
  ].join("\n");
}

function quoted(name: string): string {
  return `"${name}"`;
}
