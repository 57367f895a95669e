/*
 * A small language for the shapes of JSON, as plain data: what an API's answers look like is written in it (`containers.ts` and the other
 * files beside), and `problemsOf` compares.
 */

/** What a value must be. */
export type Shape =
  | "string"
  | "boolean"
  /** A whole number. */
  | "integer"
  /** RFC 3339, with up to nine digits of a second's parts. */
  | "time"
  /** An id of 64 hexadecimal digits. */
  | "id"
  /** `sha256:` and 64 hexadecimal digits. */
  | "digest"
  /** Whatever it is: only for what isn't the API's own, such as a driver's report. */
  | "anything"
  | { readonly kind: "object"; readonly fields: Readonly<Record<string, Shape | Field>> }
  | { readonly kind: "list"; readonly of: Shape }
  | { readonly kind: "pair"; readonly of: readonly Shape[] }
  | { readonly kind: "map"; readonly of: Shape; readonly keys: Shape }
  | { readonly kind: "nullable"; readonly of: Shape }
  | { readonly kind: "words"; readonly of: readonly string[] };

/** A field of an object that isn't simply there. Versions are of the API. */
export interface Field {
  readonly kind: "field";
  readonly of: Shape;
  /** It may be missing: left out when it is empty. */
  readonly optional?: boolean;
  /** Requests of this version or a newer one are answered with it, older ones without. */
  readonly since?: string;
  /** Requests of older versions than this are answered with it, others without. */
  readonly before?: string;
  /** Requests of this version or a newer one may be answered without it: left out when it is empty. */
  readonly optionalSince?: string;
  /** Engines whose newest version is at least this have it in every answer, older engines in none. */
  readonly engineSince?: string;
  /** Engines whose newest version is older than this have it in every answer, others may leave it out. */
  readonly engineBefore?: string;
}

export const object = (fields: Readonly<Record<string, Shape | Field>>): Shape => ({
  kind: "object",
  fields,
});
/** An object with further fields, or others by the same name. */
export function extended(
  shape: Shape,
  fields: Readonly<Record<string, Shape | Field>>,
): Extract<Shape, { kind: "object" }> {
  if (typeof shape === "string" || shape.kind !== "object") throw new Error("only objects have fields");
  return { kind: "object", fields: { ...shape.fields, ...fields } };
}
export const list = (of: Shape): Shape => ({ kind: "list", of });
export const pair = (...of: readonly Shape[]): Shape => ({ kind: "pair", of });
export const map = (of: Shape, keys: Shape = "string"): Shape => ({ kind: "map", of, keys });
export const nullable = (of: Shape): Shape => ({ kind: "nullable", of });
export const words = (...of: readonly string[]): Shape => ({ kind: "words", of });
/** The list of Go's that may be null when it is empty. */
export const goList = (of: Shape): Shape => nullable(list(of));
export const goMap = (of: Shape): Shape => nullable(map(of));
export const optional = (of: Shape): Field => ({ kind: "field", of, optional: true });
export const field = (of: Shape, limits: Omit<Field, "kind" | "of">): Field => ({
  kind: "field",
  of,
  ...limits,
});
/** An object that means a set of its keys. */
export const keySet: Shape = map({ kind: "object", fields: {} });

/** Who asked whom. */
export interface Versions {
  /** Of the request, `1.41`. */
  readonly request: string;
  /** The newest that the engine serves. */
  readonly engine: string;
}

/** Everything in which a value isn't of the shape, each with the path to it; empty when nothing. */
export function problemsOf(value: unknown, shape: Shape, versions: Versions, at = ""): string[] {
  const here = at === "" ? "the answer" : at;
  const wrong = (wanted: string) => [`${here}: ${JSON.stringify(value)?.slice(0, 100)} is not ${wanted}`];
  if (typeof shape === "string") return fits(value, shape) ? [] : wrong(`of type ${shape}`);
  switch (shape.kind) {
    case "nullable":
      return value === null ? [] : problemsOf(value, shape.of, versions, at);
    case "words":
      return shape.of.includes(value as string) ? [] : wrong(`one of ${shape.of.join(", ")}`);
    case "list":
      if (!Array.isArray(value)) return wrong("a list");
      return value.flatMap((item, index) => problemsOf(item, shape.of, versions, `${at}[${index}]`));
    case "pair":
      if (!Array.isArray(value) || value.length !== shape.of.length)
        return wrong(`a list of ${shape.of.length}`);
      return shape.of.flatMap((of, index) => problemsOf(value[index], of, versions, `${at}[${index}]`));
    case "map":
      if (!isObject(value)) return wrong("an object");
      return Object.entries(value).flatMap(([key, item]) => [
        ...problemsOf(key, shape.keys, versions, `${at}, its key`),
        ...problemsOf(item, shape.of, versions, `${at}[${JSON.stringify(key)}]`),
      ]);
    case "object":
      if (!isObject(value)) return wrong("an object");
      return problemsOfFields(value, shape.fields, versions, at);
  }
}

function problemsOfFields(
  value: Readonly<Record<string, unknown>>,
  fields: Readonly<Record<string, Shape | Field>>,
  versions: Versions,
  at: string,
): string[] {
  const path = (name: string) => (at === "" ? name : `${at}.${name}`);
  const unknown = Object.keys(value)
    .filter((name) => !Object.hasOwn(fields, name))
    .map((name) => `${path(name)}: is not in the schema`);
  const known = Object.entries(fields).flatMap(([name, shape]) => {
    const one: Field =
      typeof shape === "object" && shape.kind === "field" ? shape : { kind: "field", of: shape };
    const presence = presenceOf(one, versions);
    if (!Object.hasOwn(value, name)) return presence === "required" ? [`${path(name)}: is missing`] : [];
    if (presence === "absent") return [`${path(name)}: is not of version ${versions.request}`];
    return problemsOf(value[name], one.of, versions, path(name));
  });
  return [...unknown, ...known];
}

function presenceOf(
  { optional, since, before, optionalSince, engineSince, engineBefore }: Field,
  { request, engine }: Versions,
): "required" | "optional" | "absent" {
  if (since !== undefined && isOlder(request, since)) return "absent";
  if (before !== undefined && !isOlder(request, before)) return "absent";
  if (engineSince !== undefined && isOlder(engine, engineSince)) return "absent";
  if (engineBefore !== undefined && !isOlder(engine, engineBefore)) return "optional";
  const mayLack = optional || (optionalSince !== undefined && !isOlder(request, optionalSince));
  return mayLack ? "optional" : "required";
}

/** Whether an API version is older than another. */
export function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [thanMajor = 0, thanMinor = 0] = than.split(".").map(Number);
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

function fits(value: unknown, shape: Extract<Shape, string>): boolean {
  switch (shape) {
    case "anything":
      return true;
    case "string":
    case "boolean":
      return typeof value === shape;
    case "integer":
      return Number.isInteger(value);
    case "time":
      return typeof value === "string" && TIME.test(value);
    case "id":
      return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
    case "digest":
      return typeof value === "string" && /^sha256:[0-9a-f]{64}$/.test(value);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
