import { EngineError } from "@longshore/errors";

/** Hands out the values of a parsed document once each, and knows what nobody asked for. */
export class ConfigReader {
  readonly #values = new Map<string, unknown>();

  constructor(document: Record<string, unknown>) {
    this.#collect(document, "");
  }

  take<T>(key: string, check: (value: unknown, key: string) => T): T | undefined {
    const value = this.#values.get(key);
    this.#values.delete(key);
    return value === undefined ? undefined : check(value, key.replaceAll("/", "."));
  }

  refuseUnless(key: string, harmless: readonly unknown[]): void {
    const found = [...this.#values].filter(([name]) => name === key || name.startsWith(`${key}/`));
    for (const [name, value] of found) {
      this.#values.delete(name);
      if (harmless.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value))) continue;
      throw invalid(`${name.replaceAll("/", ".")} = ${JSON.stringify(value)} is not supported`);
    }
  }

  /** What nobody asked for. */
  left(passedOver: readonly string[]): string[] {
    return [...this.#values.keys()]
      .filter((key) => !passedOver.some((section) => key.startsWith(`${section}/`)))
      .map((key) => key.replaceAll("/", "."));
  }

  #collect(value: Record<string, unknown>, prefix: string): void {
    for (const [name, inner] of Object.entries(value)) {
      const key = prefix + name;
      if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
        this.#collect(inner as Record<string, unknown>, `${key}/`);
      } else this.#values.set(key, inner);
    }
  }
}

export function string(value: unknown, key: string): string {
  if (typeof value !== "string") throw invalid(`${key} must be a string`);
  return value;
}

export function boolean(value: unknown, key: string): boolean {
  if (typeof value !== "boolean") throw invalid(`${key} must be true or false`);
  return value;
}

export function integer(value: unknown, key: string): number {
  if (!Number.isInteger(value)) throw invalid(`${key} must be an integer`);
  return value as number;
}

export function number(value: unknown, key: string): number {
  if (typeof value !== "number") throw invalid(`${key} must be a number`);
  return value;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration as Go writes it, `1m30s`, in milliseconds. */
export function durationMs(value: unknown, key: string): number {
  const text = string(value, key);
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)];
  if (text === "0") return 0;
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== text) {
    throw invalid(`${key}: time: invalid duration ${JSON.stringify(text)}`);
  }
  return parts.reduce((sum, [, amount, unit = ""]) => sum + Number(amount) * (UNIT_MS[unit] ?? 0), 0);
}

export function pluginIds(value: unknown, key: string): string[] {
  if (!Array.isArray(value)) throw invalid(`${key} must be a list`);
  const kind = key === "disabled_plugins" ? "disabled" : "required";
  return value.map((entry) => {
    const id = string(entry, key);
    if (id.includes(".")) return id;
    throw invalid(`invalid ${kind} plugin URI ${JSON.stringify(id)} expect io.containerd.x.vx`);
  });
}

export function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
