import { EngineError } from "@longshore/errors";

/** A driver's options as clients give them. */
export type Options = Readonly<Record<string, string>>;

const UNITS = "kmgtp";
/** What Go's strconv.ParseBool takes. */
const BOOLEANS: Record<string, boolean> = Object.fromEntries([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true]),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false]),
]);

/** Bytes of a size with a unit, in powers of 1000. @throws EngineError `invalid_argument` */
export function parseSize(name: string, text: string): number {
  const size = bytesOf(text, 1000);
  if (size === undefined) throw invalid(`invalid size: '${text}'`);
  if (size <= 0) throw invalid(`${name} must be a positive number`);
  return size;
}

/** The same in powers of 1024; undefined for what is no size. */
export function parseMemory(text: string): number | undefined {
  return bytesOf(text, 1024);
}

function bytesOf(text: string, base: number): number | undefined {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return Math.trunc(Number(digits) * base ** (UNITS.indexOf(unit.toLowerCase() || "-") + 1));
}

/** @throws EngineError `invalid_argument` for what is no number, or less than one */
export function parseCount(name: string, text: string): number {
  if (!/^[+-]?\d+$/.test(text))
    throw invalid(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (Number(text) < 1) throw invalid(`${name} cannot be less than 1`);
  return Number(text);
}

/** @throws EngineError `invalid_argument` */
export function parseBoolean(text: string): boolean {
  const value = BOOLEANS[text];
  if (value !== undefined) return value;
  throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** @throws EngineError `invalid_argument` in Docker's words for an option that the driver doesn't know */
export function checkNames(driver: string, options: Options, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw invalid(`unknown log opt '${key}' for ${driver} log driver`);
  }
}

export function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
