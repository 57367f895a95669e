import { EngineError } from "@longshore/errors";
import type { Spec } from "@longshore/oci";
import {
  AT_FDCWD,
  type CallError,
  close,
  fstatfs,
  type Hand,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_TRUNC,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  stat,
} from "@longshore/syscalls";
import type { NamespacePlan } from "./namespaces.ts";
import { reason, StartError } from "./start-error.ts";

const PROC_SUPER_MAGIC = 0x9fa0;

/** The name with dots between its parts, as sysctl(8) takes it: with slashes for parts, a dot belongs to the part. */
export function dotted(key: string): string {
  const first = /[./]/.exec(key)?.[0];
  if (first !== "/") return key;
  return key.replaceAll(/[./]/g, (sign) => (sign === "." ? "/" : "."));
}

/** `kernel.*` that belong to an ipc namespace. */
function ofIpc(name: string): boolean {
  return (
    name.startsWith("fs.mqueue.") ||
    /^kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$/.test(name)
  );
}

/** Refuse kernel settings that would change more than the container. */
export function checkSysctls(spec: Spec, { all, joined, entered }: NamespacePlan): void {
  const refuse = (words: string): never => {
    throw new EngineError("invalid_argument", words);
  };
  for (const key of Object.keys(spec.linux?.sysctl ?? {})) {
    const name = dotted(key);
    const quoted = JSON.stringify(name);
    if (ofIpc(name)) {
      if (!all.has("ipc")) refuse(`sysctl ${quoted} is not allowed in the hosts ipc namespace`);
    } else if (name.startsWith("net.")) {
      const path = [...joined, ...entered].find(({ type }) => type === "network");
      if (!all.has("network") || (path && isOurs(path.fd))) {
        refuse(`sysctl ${quoted} not allowed in host network namespace`);
      }
    } else if (all.has("uts") && name === "kernel.domainname") {
      // Namespaced, and no field of the specification stands for it alone.
    } else if (all.has("uts") && name === "kernel.hostname") {
      refuse(`sysctl ${quoted} is not allowed as it conflicts with the OCI "hostname" field`);
    } else if (name.startsWith("user.")) {
      if (!all.has("user")) refuse(`setting ucounts without a user namespace not allowed: ${name}`);
    } else refuse(`sysctl ${quoted} is not in a separate kernel namespace`);
  }
}

function isOurs(fd: number): boolean {
  const theirs = stat("", 0x1000, fd);
  const ours = stat("/proc/self/ns/net");
  return theirs.device === ours.device && theirs.inode === ours.inode;
}

/**
 * Make kernel settings, while the root is still the host's: through its procfs, whatever the image has at /proc (CVE-2025-52881). Whose
 * settings they are depends on who writes.
 */
export function setSysctls(hand: Hand, sysctls: Readonly<Record<string, string>>): void {
  const entries = Object.entries(sysctls);
  if (entries.length === 0) return;
  const { arena } = hand.calls;
  hand.calls.wording = (error) => `open /proc/sys: ${reason(error)}`;
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const opened = hand.call("openat", [AT_FDCWD, hand.text("/proc/sys"), flags]);
  hand.run();
  const top = hand.result(opened);
  if (fstatfs(top).type !== PROC_SUPER_MAGIC) {
    throw new StartError("error during container init: sysctl: /proc/sys is not of a procfs");
  }
  for (const [key, value] of entries) {
    hand.calls.wording = (error: CallError) =>
      error.syscall === "write"
        ? `failed to write sysctl ${key} = ${JSON.stringify(value)}: ${reason(error)}`
        : `open sysctl ${key} file: ${reason(error)}`;
    const path = dotted(key).replaceAll(/[./]/g, (sign) => (sign === "." ? "/" : "."));
    const how = arena.room(24);
    arena.put64(how, O_WRONLY | O_TRUNC | O_CLOEXEC);
    arena.put64(how + 16, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH);
    const fd = hand.call("openat2", [top, hand.text(path), arena.base + how, 24]);
    hand.call("write", [fd, hand.text(value), Buffer.byteLength(value)]);
    hand.call("close", [fd]);
  }
  hand.run();
  close(top);
  hand.calls.wording = undefined;
}
