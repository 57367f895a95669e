import { UsageError } from "@longshore/cli";
import type { Parsed } from "./flags.ts";

function count(text: string | undefined, flag: string): number {
  if (text === undefined) return 0;
  if (!/^\d+$/.test(text)) throw new UsageError(`invalid value ${JSON.stringify(text)} for flag -${flag}`);
  return Number(text);
}

/** LISTEN_FDS of socket activation counts among the descriptors to keep, as in the original. */
export function preservedFds(parsed: Parsed): number {
  const listening = /^\d+$/.exec(process.env.LISTEN_FDS ?? "");
  return count(parsed.values.get("preserve-fds"), "preserve-fds") + Number(listening?.[0] ?? 0);
}
