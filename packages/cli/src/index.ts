export { type MainOptions, runMain } from "./run-main.ts";
export { UsageError } from "./usage-error.ts";
export { COMMIT, VERSION, versionLine } from "./version.ts";
