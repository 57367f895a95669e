import { GoMap, GoStruct, GoText, typeOf, WHOLE_ROW } from "./go-value.ts";

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

/** Those that don't evaluate all of their arguments, and so are no functions here. */
const SHORT_CIRCUITS: readonly string[] = ["and", "or"];

export function isFunction(name: string): boolean {
  return Object.hasOwn(FUNCTIONS, name) || SHORT_CIRCUITS.includes(name);
}

/** @throws RangeError for arguments that it doesn't take, in Go's words */
export function callFunction(name: string, args: unknown[]): unknown {
  return FUNCTIONS[name]?.(...args);
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
  if (typeof value === "object" && value !== null && !(value instanceof GoStruct || value instanceof GoText))
    return Array.isArray(value) ? value.length : Object.keys(value).length;
  if (value === null || value === undefined) throw new RangeError("len of nil pointer");
  throw new RangeError(`len of type ${pointedType(value)}`);
}

function indexOne(value: unknown, key: unknown): unknown {
  if (value === null || value === undefined) throw new RangeError("index of untyped nil");
  if (value instanceof GoText && value.isNil) throw new RangeError("index of nil pointer");
  if (typeof value === "string" || Array.isArray(value)) {
    if (typeof key !== "number") throw new RangeError(`cannot index slice/array with type ${typeOf(key)}`);
    const items: ArrayLike<unknown> = typeof value === "string" ? Buffer.from(value) : value;
    if (key < 0 || key >= items.length) throw new RangeError(`index out of range: ${key}`);
    return items[key];
  }
  if (typeof value === "object" && !(value instanceof GoStruct || value instanceof GoText)) {
    if (typeof key !== "string" || (value instanceof GoMap && value.isNamed))
      throw new RangeError(`value has type ${typeOf(key)}; should be string`);
    const name = key;
    if (Object.hasOwn(value, name)) return (value as Record<string, unknown>)[name];
    if (value instanceof GoMap) return value.zero();
    // Go's maps have a zero value for what isn't there; those of texts an empty one.
    const others = Object.values(value);
    return others.length > 0 && others.every((one) => typeof one === "string") ? "" : undefined;
  }
  throw new RangeError(`can't index item of type ${pointedType(value)}`);
}

/** What functions are given for a pointer is what that points to. */
function pointedType(value: unknown): string {
  return typeOf(value).replace(/^\*/, "");
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
