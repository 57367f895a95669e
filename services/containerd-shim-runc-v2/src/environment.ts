import { IDLE_ENVIRONMENT, LEAN_ENVIRONMENT } from "./lean.ts";

/** Settings of the shim itself that are not for the programs that it starts. */
const OURS = new Set(Object.keys(IDLE_ENVIRONMENT));

let environment: Record<string, string> | undefined;
/** For the programs that the shim starts. */
export function runtimeEnvironment(): Record<string, string> {
  if (environment) return environment;
  const { NOTIFY_SOCKET, LISTEN_FDS, LISTEN_PID, ...rest } = process.env as Record<string, string>;
  for (const name of Object.keys(rest))
    if (name.startsWith("LONGSHORE_") || OURS.has(name)) delete rest[name];
  environment = { ...rest, ...LEAN_ENVIRONMENT };
  return environment;
}
