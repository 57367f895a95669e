import { EngineError } from "@longshore/errors";

/**
 * How an object answers a filter: the value at a field path (`["labels", "a.b"]`), undefined where it has none.
 */
export type FieldLookup = (path: readonly string[]) => string | undefined;

/** Whether an object passes. */
export type Filter = (lookup: FieldLookup) => boolean;

/**
 * containerd's filters: `field.path`, `field==value`, `field!=value`, `field~=regexp`, joined by commas (and). Names and values may be
 * quoted with `"`, regular expressions also with `/` or `|`.
 *
 * @param filters an object passes when it passes any of them; none lets everything through
 * @throws EngineError `invalid_argument`
 * @see containerd, `pkg/filters`
 */
export function parseFilters(filters: readonly string[]): Filter {
  if (filters.length === 0) return () => true;
  const parsed = filters.map(parseFilter);
  return (lookup) => parsed.some((filter) => filter(lookup));
}

/** A lookup into a map by the rest of a path: label names contain dots. */
export function lookupIn(map: Readonly<Record<string, string>>, path: readonly string[]): string | undefined {
  const key = path.join(".");
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

function parseFilter(input: string): Filter {
  if (input === "") return () => true;
  const scanner = new Scanner(input);
  const selectors = [parseSelector(scanner)];
  while (!scanner.atEnd()) {
    if (!scanner.take(/,/y)) throw scanner.error(`unexpected input: ${scanner.peek()}`);
    selectors.push(parseSelector(scanner));
  }
  return (lookup) => selectors.every((selector) => selector(lookup));
}

function parseSelector(scanner: Scanner): Filter {
  const path = [parseField(scanner)];
  while (scanner.take(/\./y)) path.push(parseField(scanner));
  if (scanner.atEnd() || scanner.peek() === ",") return (lookup) => lookup(path) !== undefined;

  scanner.take(/\s+/y);
  const operator = scanner.peekAt(/[=!~]+/y);
  if (operator === undefined) throw scanner.error('expected an operator ("=="|"!="|"~=")');
  if (!["==", "!=", "~="].includes(operator)) throw scanner.error(`unsupported operator "${operator}"`);
  scanner.take(/[=!~]+/y);
  const value = parseValue(scanner, operator === "~=");
  if (operator === "==") return (lookup) => lookup(path) === value;
  if (operator === "!=") return (lookup) => (lookup(path) ?? "") !== value;
  const pattern = compile(value);
  return (lookup) => pattern?.test(lookup(path) ?? "") ?? false;
}

function parseField(scanner: Scanner): string {
  const plain = scanner.take(/\s*([A-Za-z0-9_]+)/y)?.[1];
  if (plain !== undefined) return plain;
  const quoted = scanner.take(QUOTED)?.[1];
  if (quoted === undefined || !quoted.startsWith('"')) throw scanner.error("expected field or quoted");
  return unquote(quoted, scanner);
}

function parseValue(scanner: Scanner, alternativeQuotes: boolean): string {
  const quoted = scanner.take(QUOTED)?.[1];
  if (quoted !== undefined) {
    if (!alternativeQuotes && !quoted.startsWith('"')) throw scanner.error("invalid quote encountered");
    return unquote(quoted, scanner);
  }
  const plain = scanner.take(/\s*([^\s,.=!~"/|][^\s,]*)/y)?.[1];
  if (plain !== undefined) return plain;
  scanner.take(/\s+/y);
  throw scanner.error(
    scanner.peekAt(/["/|]/y) ? "quoted literal not terminated" : "expected value or quoted",
  );
}

const QUOTED = /\s*("(?:\\.|[^"\\\n])*"|\/(?:\\.|[^/\\\n])*\/|\|(?:\\.|[^|\\\n])*\|)/y;

const ESCAPE = /\\(?:([abfnrtv\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))/g;

const CONTROL: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
};

/** Go's string escapes; only the quote in use may be escaped beside them. */
function unquote(quoted: string, scanner: Scanner): string {
  const quote = quoted[0];
  return quoted.slice(1, -1).replace(ESCAPE, (whole, control, x, u, long, octal, other) => {
    if (control !== undefined) return CONTROL[control] ?? whole;
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
    if (other !== undefined) {
      if (other === quote) return other;
      throw scanner.error("unquoting failed: quote syntax error");
    }
    return String.fromCodePoint(Number.parseInt(x ?? u ?? long, 16));
  });
}

/** A Go regular expression; one that does not compile matches nothing, as in the original. */
function compile(source: string): RegExp | undefined {
  const [, flags = ""] = /^\(\?([ims]+)\)/.exec(source) ?? [];
  try {
    return new RegExp(flags ? source.slice(flags.length + 3) : source, flags);
  } catch {
    return undefined;
  }
}

class Scanner {
  private readonly input: string;
  private position = 0;

  constructor(input: string) {
    this.input = input;
  }

  atEnd(): boolean {
    return this.position >= this.input.length;
  }

  peek(): string | undefined {
    return this.input[this.position];
  }

  /** What a sticky pattern matches here. */
  peekAt(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position;
    return pattern.exec(this.input)?.[0];
  }

  /** Consume what a sticky pattern matches here. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.input);
    if (!match) return undefined;
    this.position += match[0].length;
    return match;
  }

  error(message: string): EngineError {
    const at = this.position;
    const where = this.atEnd()
      ? `[${this.input}]`
      : `[${this.input.slice(0, at)} >|${this.input[at]}|< ${this.input.slice(at + 1)}]`;
    return new EngineError(
      "invalid_argument",
      `filters: parse error: ${where}: ${message}: invalid argument`,
    );
  }
}
