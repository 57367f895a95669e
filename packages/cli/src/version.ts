declare const LONGSHORE_COMMIT: string | undefined;

/** The suite's version; the same for all six binaries. */
export const VERSION = "0.1.0";

/** The commit that the executable was built from; empty in uncompiled runs. */
export const COMMIT = typeof LONGSHORE_COMMIT === "string" ? LONGSHORE_COMMIT : "";

/** What `--version` prints. */
export function versionLine(binary: string): string {
  return `${binary} version ${VERSION}${COMMIT && `, build ${COMMIT}`} (longshore)`;
}
