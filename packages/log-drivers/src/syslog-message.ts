import os from "node:os";
import type { SyslogRemote } from "./driver.ts";

const SEVERITY = { stdout: 6, stderr: 3 } as const;
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/**
 * One line as a syslog server takes it, with the newline that ends it.
 * @param time milliseconds since 1970, and the microseconds beyond
 * @see RFC 3164, RFC 5424, RFC 5425 for the length before a message over TLS
 */
export function syslogMessage(
  { facility, format, tag, protocol }: Pick<SyslogRemote, "facility" | "format" | "tag" | "protocol">,
  stream: "stdout" | "stderr",
  line: Uint8Array,
  now: { date: Date; micros: number },
): Buffer {
  const priority = facility * 8 + SEVERITY[stream];
  const sender = `${tag}[${process.pid}]`;
  const isNew = format === "rfc5424" || format === "rfc5424micro";
  const head = isNew
    ? `<${priority}>1 ${rfc3339(now, format === "rfc5424micro")} ${os.hostname()} ${tag} ${process.pid} ${tag} - `
    : format === "rfc3164"
      ? `<${priority}>${stamp(now.date)} ${os.hostname()} ${sender}: `
      : `<${priority}>${stamp(now.date)} ${sender}: `;
  const message = Buffer.concat([Buffer.from(head), line, Buffer.from("\n")]);
  if (!isNew || protocol !== "tcp+tls") return message;
  return Buffer.concat([Buffer.from(`${message.length} `), message]);
}

/** `Jan  2 15:04:05` */
function stamp(date: Date): string {
  const day = String(date.getDate()).padStart(2);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${MONTHS[date.getMonth()]} ${day} ${time}`;
}

/** In the machine's time zone. */
function rfc3339({ date, micros }: { date: Date; micros: number }, withMicros: boolean): string {
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const fraction = withMicros ? `.${String(date.getMilliseconds() * 1000 + micros).padStart(6, "0")}` : "";
  const offset = -date.getTimezoneOffset();
  const minutes = Math.abs(offset);
  const zone =
    offset === 0 ? "Z" : `${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
  return `${day}T${time}${fraction}${zone}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
