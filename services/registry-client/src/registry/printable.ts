const LIMIT = 1000;

/** What a registry says, as one line that a terminal shows as it is: no control characters, at most so long. */
export function printable(text: string, limit = LIMIT): string {
  const line = text
    .slice(0, 2 * limit)
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();
  return line.length > limit ? `${line.slice(0, limit)}…` : line;
}
