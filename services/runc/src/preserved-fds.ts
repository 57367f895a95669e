import { UsageError } from "@longshore/cli";
import type { Parsed } from "./flags.ts";

/** How many descriptors the caller wants the process to have beside the standard streams. */
export function preservedFds(parsed: Parsed): number {
  const text = parsed.values.get("preserve-fds");
  if (text === undefined) return 0;
  if (!/^\d+$/.test(text)) {
    throw new UsageError(`invalid value ${JSON.stringify(text)} for flag -preserve-fds: parse error`);
  }
  return Number(text);
}

/** How many sockets we were started with (sd_listen_fds(3)), when it was us whom they are for. */
export function listenFds(): number {
  const { LISTEN_PID, LISTEN_FDS = "" } = process.env;
  if (LISTEN_PID !== String(process.pid) || !/^\d+$/.test(LISTEN_FDS)) return 0;
  return Number(LISTEN_FDS);
}
