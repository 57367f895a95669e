const LEVELS: Readonly<Record<number, string>> = {
  10: "trace",
  20: "debug",
  30: "info",
  40: "warning",
  50: "error",
  60: "fatal",
};
/** Said by every line of pino's, and of no use in text. */
const LEFT_OUT = new Set(["level", "time", "msg", "name", "pid", "hostname"]);

/** A line of pino's JSON as Docker's daemons write text: `time="…" level=info msg="…" key=value`. What is no such line stays as it is. */
export function toLogfmt(line: string): string {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { time, level, msg } = fields;
  const shown = Object.entries(fields)
    .filter(([key]) => !LEFT_OUT.has(key))
    .map(([key, value]) => `${key === "err" ? "error" : key}=${show(value)}`);
  const head = [
    `time=${JSON.stringify(new Date(Number(time)).toISOString())}`,
    `level=${LEVELS[Number(level)] ?? "info"}`,
    `msg=${JSON.stringify(msg ?? "")}`,
  ];
  return `${[...head, ...shown].join(" ")}\n`;
}

function show(value: unknown): string {
  const isError = typeof value === "object" && value !== null && "message" in value;
  const plain = isError ? value.message : value;
  const text = typeof plain === "string" ? plain : (JSON.stringify(plain) ?? "");
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text);
}
