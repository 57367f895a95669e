import { EngineError } from "@longshore/errors";
import { parseTime } from "./time.ts";

/** The `filters` of a list request: for each key, values of which one must fit; all keys must. */
export class Filters {
  /** Everything fits. */
  static readonly none = new Filters(new Map());

  private readonly values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.values = values;
  }

  /**
   * Read both forms, `{"status":["exited"]}` and `{"status":{"exited":true}}`.
   * @param allowed keys; undefined: all
   * @throws EngineError `invalid_argument` for what is no such JSON, or a key not in `allowed`
   */
  static parse(text: string | null, allowed: readonly string[] | undefined): Filters {
    const values = new Map<string, string[]>();
    if (text === null || text === "") return new Filters(values);
    for (const [key, given] of Object.entries(parseObject(text))) {
      if (allowed && !allowed.includes(key))
        throw new EngineError("invalid_argument", `invalid filter '${key}'`);
      values.set(key, listOf(given));
    }
    return new Filters(values);
  }

  /** These, and one value more. */
  with(key: string, value: string): Filters {
    return new Filters(new Map([...this.values, [key, [...this.get(key), value]]]));
  }

  has(key: string): boolean {
    return this.get(key).length > 0;
  }

  get(key: string): readonly string[] {
    return this.values.get(key) ?? [];
  }

  /** Whether the key isn't given, or one of its values fits. */
  match(key: string, fits: (value: string) => boolean): boolean {
    const values = this.get(key);
    return values.length === 0 || values.some(fits);
  }

  /** Whether the key isn't given, or one of its values is the text or a regular expression that fits some of it, as Docker has names. */
  matchPattern(key: string, text: string): boolean {
    return this.match(key, (pattern) => pattern === text || isMatch(pattern, text));
  }

  /** Whether all values of `label` are among the labels: `key` or `key=value`. */
  matchLabels(labels: Record<string, string>, key = "label"): boolean {
    return this.get(key).every((wanted) => hasLabel(labels, wanted));
  }

  /** Whether none of the values of `label!` is among the labels. */
  lacksLabels(labels: Record<string, string>): boolean {
    return !this.get("label!").some((unwanted) => hasLabel(labels, unwanted));
  }

  /**
   * @param what the values are of, to say so
   * @throws EngineError `invalid_argument`, in Docker's words, for a value that isn't one of these
   */
  checkValues(key: string, allowed: readonly string[], what?: string): void {
    const wrong = this.get(key).find((value) => !allowed.includes(value));
    if (wrong === undefined) return;
    const why = what && `: invalid value for ${what} (${wrong}): must be one of ${allowed.join(", ")}`;
    throw new EngineError("invalid_argument", `invalid filter '${key}=${wrong}'${why ?? ""}`);
  }

  /**
   * A boolean key; undefined when it isn't given.
   * @throws EngineError `invalid_argument`, in Docker's words, for what is neither or both
   */
  boolean(key: string): boolean | undefined {
    if (!this.values.has(key)) return undefined;
    const values = this.get(key);
    const isTrue = values.some((value) => value === "1" || value === "true");
    const isFalse = values.some((value) => value === "0" || value === "false");
    if (isTrue !== isFalse) return isTrue;
    const shown = values.length === 0 ? key : `${key}=[${values.join(" ")}]`;
    throw new EngineError("invalid_argument", `invalid filter '${shown}'`);
  }

  /**
   * The moment that `until` names, in nanoseconds since 1970; undefined when it isn't given.
   * @throws EngineError `invalid_argument` for several, or what is no time
   */
  until(): bigint | undefined {
    const [until, ...more] = this.get("until");
    if (more.length > 0) throw new EngineError("invalid_argument", "more than one until filter specified");
    try {
      return until === undefined ? undefined : parseTime(until);
    } catch (cause) {
      const message = `failed to parse value as time or duration: ${JSON.stringify(until)}`;
      throw new EngineError("invalid_argument", message, { cause });
    }
  }
}

function hasLabel(labels: Record<string, string>, wanted: string): boolean {
  const at = wanted.indexOf("=");
  if (at < 0) return Object.hasOwn(labels, wanted);
  return labels[wanted.slice(0, at)] === wanted.slice(at + 1);
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && !Array.isArray(value)) return { ...value };
  } catch {
    // told below
  }
  throw new EngineError("invalid_argument", "invalid filter");
}

function listOf(given: unknown): string[] {
  if (Array.isArray(given) && given.every((item) => typeof item === "string")) return given;
  if (given === null) return [];
  if (typeof given === "object") {
    if (Object.values(given).every((on) => typeof on === "boolean")) return Object.keys(given);
  }
  throw new EngineError("invalid_argument", "invalid filter");
}

/** What is no regular expression fits nothing. */
function isMatch(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern).test(text);
  } catch {
    return false;
  }
}
