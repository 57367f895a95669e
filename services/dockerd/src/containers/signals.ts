import os from "node:os";
import { EngineError } from "@longshore/errors";

const REALTIME_MIN = 34;
/** The last real-time one. */
export const SIGNAL_MAX = 64;

/**
 * A signal's number from what users write: `KILL`, `SIGKILL`, `9`, `RTMIN+3`.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function parseSignal(text: string): number {
  if (/^[0-9]+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= SIGNAL_MAX) return number;
    throw invalid(text);
  }
  const name = text.toUpperCase().replace(/^SIG/, "");
  const known = os.constants.signals[`SIG${name}` as NodeJS.Signals];
  if (known !== undefined) return known;
  const [, edge, offset = "0"] = /^RT(MIN(?=\+|$)|MAX(?=-|$))(?:.([0-9]+))?$/.exec(name) ?? [];
  const number = edge === "MIN" ? REALTIME_MIN + Number(offset) : SIGNAL_MAX - Number(offset);
  if (edge !== undefined && number >= REALTIME_MIN && number <= SIGNAL_MAX) return number;
  throw invalid(text);
}

/**
 * Find the signal that stops a container. The configuration can come from an image or an old record,
 * whose signal nobody checked: a name that is no signal counts as SIGTERM, so that stopping works.
 */
export function stopSignalOf(configured: string): number {
  try {
    return parseSignal(configured || "SIGTERM");
  } catch {
    return os.constants.signals.SIGTERM;
  }
}

function invalid(text: string): EngineError {
  return new EngineError("invalid_argument", `invalid signal: ${text}`);
}
