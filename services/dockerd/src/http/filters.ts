import { EngineError } from "@longshore/errors";

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
   * @throws EngineError `invalid_argument` for what is no such JSON, or a key not in `allowed`
   */
  static parse(text: string | null, allowed: readonly string[]): Filters {
    const values = new Map<string, string[]>();
    if (text === null || text === "") return new Filters(values);
    for (const [key, given] of Object.entries(parseObject(text))) {
      if (!allowed.includes(key)) throw new EngineError("invalid_argument", `invalid filter '${key}'`);
      values.set(key, listOf(given));
    }
    return new Filters(values);
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

  /** Whether all values of `label` are among the labels: `key` or `key=value`. */
  matchLabels(labels: Record<string, string>, key = "label"): boolean {
    return this.get(key).every((wanted) => {
      const at = wanted.indexOf("=");
      if (at < 0) return Object.hasOwn(labels, wanted);
      return labels[wanted.slice(0, at)] === wanted.slice(at + 1);
    });
  }

  /** @throws EngineError `invalid_argument` for a value that isn't one of these */
  checkValues(key: string, allowed: readonly string[]): void {
    for (const value of this.get(key)) {
      if (!allowed.includes(value)) {
        throw new EngineError("invalid_argument", `invalid filter '${key}=${value}'`);
      }
    }
  }

  /** A boolean key; undefined when it isn't given. */
  boolean(key: string): boolean | undefined {
    if (!this.has(key)) return undefined;
    this.checkValues(key, ["1", "true", "True", "0", "false", "False"]);
    return ["1", "true", "True"].includes(this.get(key)[0] ?? "");
  }
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
