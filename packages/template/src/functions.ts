import { GoMap, GoStruct, GoText } from "./go-value.ts";
import { TemplateError } from "./template-error.ts";

/** Marks an object that stands for a whole row of a list. */
export const WHOLE_ROW = Symbol("row");

/** A row as Go's encoder writes it, which escapes what HTML gives a meaning to. */
export function rowJson(row: object): string {
  return JSON.stringify(row).replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
}

type TemplateFunction = (...args: unknown[]) => unknown;

const COMPARISONS: Readonly<Record<string, (a: unknown, b: unknown) => boolean>> = {
  lt: (a, b) => Number(a) < Number(b) || (typeof a === "string" && typeof b === "string" && a < b),
  le: (a, b) => a === b || (COMPARISONS.lt?.(a, b) ?? false),
  gt: (a, b) => COMPARISONS.lt?.(b, a) ?? false,
  ge: (a, b) => a === b || (COMPARISONS.lt?.(b, a) ?? false),
};

const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  ...COMPARISONS,
  eq: (first, ...others) => others.some((other) => other === first),
  ne: (a, b) => a !== b,
  not: (value) => !isTrue(value),
  len: lengthOf,
  index: (value, ...keys) => keys.reduce(indexOne, value),
  print: printAll,
  println: (...values) => `${values.map(printValue).join(" ")}\n`,
  printf: (format, ...values) => formatValues(String(format), values),
  json: (value) =>
    typeof value === "object" && value !== null && WHOLE_ROW in value
      ? rowJson(value)
      : JSON.stringify(value ?? null),
  join: (list, separator) => (Array.isArray(list) ? list.map(printValue).join(String(separator)) : ""),
  split: (text, separator) => String(text).split(String(separator)),
  upper: (text) => String(text).toUpperCase(),
  lower: (text) => String(text).toLowerCase(),
  title: (text) => String(text).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  pad: (text, before, after) =>
    text ? " ".repeat(Number(before)) + String(text) + " ".repeat(Number(after)) : "",
  truncate: (text, length) => String(text).slice(0, Number(length)),
};

/** @throws TemplateError for a function that does not exist */
export function callFunction(name: string, args: unknown[]): unknown {
  if (!Object.hasOwn(FUNCTIONS, name)) {
    throw new TemplateError(
      `template parsing error: template: :1: function ${JSON.stringify(name)} not defined`,
    );
  }
  try {
    return FUNCTIONS[name]?.(...args);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new TemplateError(`template: error calling ${name}: ${error.message}`);
  }
}

/** What Go's templates count as true. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof GoText) return !value.isNil;
  if (value instanceof GoStruct) return true;
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go prints it. */
export function printValue(value: unknown): string {
  if (value === undefined || value === null) return "<no value>";
  if (value instanceof GoText) return value.toString();
  if (value instanceof GoStruct) return `{${Object.values(value).map(printInner).join(" ")}}`;
  if (Array.isArray(value)) return `[${value.map(printInner).join(" ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, item]) => `${key}:${printInner(item)}`).join(" ")}]`;
  }
  return String(value);
}

/** As Go's Sprint: a blank between what is no text. */
function printAll(...values: unknown[]): string {
  return values.reduce<string>((text, value, i) => {
    const blank = i > 0 && typeof value !== "string" && typeof values[i - 1] !== "string";
    return `${text}${blank ? " " : ""}${printValue(value)}`;
  }, "");
}

function printInner(value: unknown): string {
  return value === undefined || value === null ? "<nil>" : printValue(value);
}

function lengthOf(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? value.length : Object.keys(value).length;
  throw new TemplateError(`template: error calling len: len of type ${typeof value}`);
}

function indexOne(value: unknown, key: unknown): unknown {
  if (value instanceof GoStruct || value instanceof GoText || (value instanceof GoMap && value.isNamed))
    throw new TemplateError("template: error calling index: can't index this by a text");
  if (Array.isArray(value)) {
    if (typeof key !== "number" || key < 0 || key >= value.length) {
      throw new TemplateError(`template: error calling index: index out of range: ${printValue(key)}`);
    }
    return value[key] as unknown;
  }
  if (typeof value === "object" && value !== null) {
    const name = String(key);
    if (Object.hasOwn(value, name)) return (value as Record<string, unknown>)[name];
    if (value instanceof GoMap) return value.zero();
    // Go's maps have a zero value for what isn't there; those of texts an empty one.
    return Object.values(value).every((one) => typeof one === "string") ? "" : undefined;
  }
  throw new TemplateError("template: error calling index: index of untyped nil");
}

function formatValues(format: string, values: readonly unknown[]): string {
  let next = 0;
  return format.replace(/%(-?\d*)([sdvqt%])/g, (_whole, width: string, verb: string) => {
    if (verb === "%") return "%";
    const value = values[next];
    next += 1;
    const text = verb === "q" ? JSON.stringify(String(value)) : printValue(value);
    const columns = Number(width || 0);
    return columns < 0 ? text.padEnd(-columns) : text.padStart(columns);
  });
}
