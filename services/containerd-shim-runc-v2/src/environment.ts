import { readText } from "@longshore/syscalls";
import { IDLE_ENVIRONMENT, LEAN_ENVIRONMENT } from "./lean.ts";

/** Settings of the shim itself that are not for the programs that it starts. */
const OURS = new Set(Object.keys(IDLE_ENVIRONMENT));
/** Of whoever started the daemon that started this. */
const NOT_FOR_OTHERS = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"];

let added: Readonly<Record<string, string>> = {};

/**
 * What this process was started with. The long-lived one must not look at `process.env`: the engine makes an object of another shape for
 * each variable, and one for each that is removed, and keeps them; on a machine with forty variables this is 50 kB.
 */
export function variables(): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readText("/proc/self/environ").split("\0")) {
    const end = entry.indexOf("=");
    if (end > 0) found.set(entry.slice(0, end), entry.slice(end + 1));
  }
  for (const name in added) found.set(name, added[name] ?? "");
  return found;
}

/** More of them, for a process that was started before they were known. */
export function addVariables(more: Readonly<Record<string, string>>): void {
  added = more;
}

/** As an object of plain data. */
export function environmentToKeep(): Record<string, string> {
  return Object.fromEntries(variables());
}

/** For the programs that the shim starts; made anew for each, for they are few. */
export function runtimeEnvironment(): Record<string, string> {
  const passed = [...variables()].filter(
    ([name]) => !name.startsWith("LONGSHORE_") && !OURS.has(name) && !NOT_FOR_OTHERS.includes(name),
  );
  return Object.assign(Object.fromEntries(passed), LEAN_ENVIRONMENT);
}
