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
  return withoutGroups ?? isRootless();
}
