/** One entry of a json-file log. */
export interface LogEntry {
  stream: "stdout" | "stderr";
  /** As written by the container: with its newline, or without when the line was split. */
  text: string;
  /** RFC 3339 with up to nine digits of fraction. */
  time: string;
  /** What the container's log options have added. */
  attributes?: Record<string, string>;
}

/** @returns undefined for a line that isn't an entry, such as one that was cut off by a crash */
export function parseLogLine(line: string): LogEntry | undefined {
  try {
    const { log, stream, time, attrs } = JSON.parse(line) as Record<string, unknown>;
    if (typeof log !== "string" || typeof time !== "string") return undefined;
    return { text: log, stream: stream === "stderr" ? "stderr" : "stdout", time, ...withAttributes(attrs) };
  } catch {
    return undefined;
  }
}

const HEAD = Buffer.from('{"log":"');
const TAILS = (["stdout", "stderr"] as const).map((stream) => ({
  stream,
  bytes: Buffer.from(`","stream":"${stream}","time":"`),
}));
const [QUOTE, BACKSLASH, LETTER_N, BRACE] = Buffer.from('"\\n}');
const LONGEST_TIME = 40;

/**
 * The entry of one line of a file, from its bytes: for what nearly every line looks like, several times as quick as `parseLogLine`, which
 * does the others.
 * @param end of the line, where its newline is
 */
export function parseLogBytes(bytes: Buffer, start: number, end: number): LogEntry | undefined {
  return plainEntry(bytes, start, end) ?? parseLogLine(bytes.toString("utf8", start, end));
}

/** `{"log":"TEXT\\n","stream":"stdout","time":"TIME"}`, with no other escape in the text. */
function plainEntry(bytes: Buffer, start: number, end: number): LogEntry | undefined {
  if (bytes[end - 1] !== BRACE || bytes[end - 2] !== QUOTE || !hasAt(bytes, HEAD, start)) return undefined;
  let timeStart = end - 2;
  while (bytes[timeStart - 1] !== QUOTE) if (--timeStart < end - LONGEST_TIME) return undefined;
  const textStart = start + HEAD.length;
  for (const { stream, bytes: tail } of TAILS) {
    const textEnd = timeStart - tail.length;
    if (textEnd < textStart || !hasAt(bytes, tail, textEnd)) continue;
    const slash = bytes.indexOf(BACKSLASH ?? 0, textStart);
    const isWhole = slash === textEnd - 2 && bytes[textEnd - 1] === LETTER_N;
    if (!isWhole && slash >= 0 && slash < end) return undefined;
    const text = bytes.toString("utf8", textStart, isWhole ? textEnd - 2 : textEnd);
    return {
      stream,
      text: isWhole ? `${text}\n` : text,
      time: bytes.toString("latin1", timeStart, end - 2),
    };
  }
  return undefined;
}

function hasAt(bytes: Buffer, wanted: Buffer, at: number): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

function withAttributes(attrs: unknown): Pick<LogEntry, "attributes"> {
  if (typeof attrs !== "object" || attrs === null) return {};
  const texts = Object.entries(attrs).map(([key, value]) => [key, String(value)]);
  return { attributes: Object.fromEntries(texts) };
}

/** What `--details` puts before a line: `key=value` by key, encoded as in a query. */
export function showDetails({ attributes = {} }: LogEntry): string {
  const encode = (text: string) => new URLSearchParams([["", text]]).toString().slice(1);
  return Object.entries(attributes)
    .map(([key, value]) => `${encode(key)}=${encode(value)}`)
    .sort()
    .join(",");
}

/** Nanoseconds since 1970 of an RFC 3339 time. */
export function timeToNano(time: string): bigint {
  const [, fraction = ""] = /\.([0-9]+)/.exec(time) ?? [];
  const whole = Date.parse(time.replace(/\.[0-9]+/, ""));
  if (Number.isNaN(whole)) return 0n;
  return BigInt(whole) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}

/** The same time with all nine digits, as `docker logs -t` prints it. */
export function fullPrecision(time: string): string {
  const [, whole = time, fraction = "", zone = ""] = /^([^.Z+]*)(?:\.([0-9]+))?(Z|[+-].*)?$/.exec(time) ?? [];
  return `${whole}.${fraction.slice(0, 9).padEnd(9, "0")}${zone || "Z"}`;
}
