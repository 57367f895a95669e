import { EngineError } from "@longshore/errors";
import { acceptedType } from "../http/accept.ts";
import type { ApiCall } from "../http/call.ts";
import type { LogEntry } from "./log-entry.ts";

const LINES = "application/jsonl";
const NEWLINES = "application/x-ndjson";
const SEQUENCE = "application/json-seq";
const TYPES = [LINES, NEWLINES, SEQUENCE];
/** Before each entry of a sequence (RFC 7464). */
const RECORD_SEPARATOR = "\x1e";
const ANY = /(^|[\s,])(\*|application)\/\*/;

/**
 * The media type of a log that a client wants as JSON, by the parameter `format` or by what it accepts; undefined for one that wants
 * the output as it was, as those of before version 1.54 of the API do.
 *
 * @throws EngineError `invalid_argument` in Docker's words for another format
 */
export function jsonLogType({ query, request, atLeast }: ApiCall): string | undefined {
  if (!atLeast("1.54")) return undefined;
  const format = query.get("format") ?? "";
  if (format !== "" && format !== "json") throw new EngineError("invalid_argument", "unsupported log format");
  const { accept } = request.headers;
  const named = acceptedType(accept, TYPES);
  if (named !== undefined || format === "") return named;
  return ANY.test(accept ?? "") ? LINES : NEWLINES;
}

/** An entry as JSON, on a line. */
export function showJsonEntry(
  { text, stream, time, attributes = {} }: LogEntry,
  { type, details }: { type: string; details: boolean },
): string {
  const Attrs = Object.entries(attributes).map(([Key, Value]) => ({ Key, Value }));
  const shown = {
    ...(text !== "" && { Line: text }),
    Source: stream,
    Timestamp: time,
    ...(details && Attrs.length > 0 && { Attrs }),
  };
  return `${type === SEQUENCE ? RECORD_SEPARATOR : ""}${JSON.stringify(shown)}\n`;
}
