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
  const signal = findSignal(text);
  if (signal === undefined) throw new EngineError("invalid_argument", `invalid signal: ${text}`);
  return signal;
}

/**
 * Find the number of the signal that stops a container.
 * The setting can come from an image or an old record and is not validated there.
 * An empty or unknown name means SIGTERM, so that the container can always be stopped.
 */
export function stopSignalOf({ StopSignal }: { StopSignal: string }): number {
  return findSignal(StopSignal) ?? os.constants.signals.SIGTERM;
}

function findSignal(text: string): number | undefined {
  if (/^[0-9]+$/.test(text)) return inRange(Number(text), 1);
  const name = text.toUpperCase().replace(/^SIG/, "");
  const known = os.constants.signals[`SIG${name}` as NodeJS.Signals];
  if (known !== undefined) return known;
  const [, edge, offset = "0"] = /^RT(MIN(?=\+|$)|MAX(?=-|$))(?:.([0-9]+))?$/.exec(name) ?? [];
  if (edge === undefined) return undefined;
  const number = edge === "MIN" ? REALTIME_MIN + Number(offset) : SIGNAL_MAX - Number(offset);
  return inRange(number, REALTIME_MIN);
}

function inRange(number: number, least: number): number | undefined {
  return number >= least && number <= SIGNAL_MAX ? number : undefined;
}
