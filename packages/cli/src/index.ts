export { type MainOptions, runMain } from "./run-main.ts";
export { UsageError } from "./usage-error.ts";
export { VERSION, versionLine } from "./version.ts";
