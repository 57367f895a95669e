import { LEAN_ENVIRONMENT } from "./lean.ts";

/** Settings of the shim itself that are not for the programs that it starts. */
const OURS = new Set([
  "BUN_OPTIONS",
  "BUN_JSC_forceMiniVMMode",
  "BUN_JSC_thresholdForJITAfterWarmUp",
  "MIMALLOC_PURGE_DELAY",
]);

let environment: Record<string, string> | undefined;
/** For the programs that the shim starts. */
export function runtimeEnvironment(): Record<string, string> {
  if (environment) return environment;
  const { NOTIFY_SOCKET, LISTEN_FDS, LISTEN_PID, ...rest } = process.env as Record<string, string>;
  environment = { ...rest, ...LEAN_ENVIRONMENT };
  for (const name of Object.keys(environment))
    if (name.startsWith("LONGSHORE_") || OURS.has(name)) delete environment[name];
  return environment;
}
