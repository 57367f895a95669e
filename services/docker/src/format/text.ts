/** The first 12 digits of an id, without its algorithm. */
export function shortId(id: string): string {
  const colon = id.indexOf(":");
  return id.slice(colon + 1).slice(0, 12);
}

/** At most `max` characters, the last of which is an ellipsis when some are left out. */
export function ellipsis(text: string, max: number): string {
  const characters = Array.from(text);
  if (characters.length <= max) return text;
  return `${characters.slice(0, max - 1).join("")}…`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

/** A string in double quotes as Go's strconv.Quote writes it. */
export function goQuote(text: string): string {
  const quoted = text.replace(/[\\"\p{C}\p{Zl}\p{Zp}]|[^\S ]/gu, (character) => {
    const known = ESCAPES[character];
    if (known !== undefined) return known;
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x80) return `\\x${hex(code, 2)}`;
    return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
  });
  return `"${quoted}"`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

const ZERO_DATE = "0001-01-01 00:00:00 +0000 UTC";

/** Unix seconds as Go prints a local time: `2026-11-23 23:52:13 +0000 UTC`. */
export function goTime(seconds: number): string {
  if (!Number.isFinite(seconds)) return ZERO_DATE;
  const date = new Date(seconds * 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.trunc(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const name = new Intl.DateTimeFormat("en-US", { timeZoneName: "short" })
    .formatToParts(date)
    .find(({ type }) => type === "timeZoneName")?.value;
  return `${day} ${time} ${zone} ${name ?? "UTC"}`;
}

/** Unix seconds as RFC 3339 in local time: `2026-11-23T23:52:13Z`. */
export function rfc3339(seconds: number): string {
  const [day = "", time = "", zone = ""] = goTime(seconds).split(" ");
  return `${day}T${time}${zone === "+0000" ? "Z" : `${zone.slice(0, 3)}:${zone.slice(3)}`}`;
}
