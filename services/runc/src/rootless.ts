import { readText } from "@longshore/syscalls";

/** Whether runc runs without root's rights: its containers then need a user namespace. */
export function isRootless(): boolean {
  return process.geteuid?.() !== 0;
}

let withoutGroups: boolean | undefined;

/** What `--rootless` says. */
export function setRootless(value: "true" | "false" | "auto"): void {
  withoutGroups = value === "auto" ? undefined : value === "true";
}

/** Whether a container goes without cgroups that we have no right to make. */
export function mayGoWithoutGroups(): boolean {
  return withoutGroups ?? (isRootless() || isInUserNamespace());
}

/** Whether our root is only that of a user namespace. */
function isInUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(readText("/proc/self/uid_map"));
}
