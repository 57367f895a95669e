/**
 * How Go's structs name, order and type what comes as JSON. A template that is given such a struct finds a zero value in a field that the
 * JSON leaves out, where one that is given the JSON itself fails.
 */
export type GoType =
  | "string"
  | "int"
  | "bool"
  /** RFC 3339 in JSON. */
  | "time"
  /** Nanoseconds in JSON. */
  | "duration"
  /** As it comes. */
  | "any"
  | { pointer: GoType }
  | { slice: GoType }
  /** `named`: its keys are of a type of their own, which a text is not, so that none is found by one. */
  | { map: GoType; named?: boolean }
  /** `name`: the type's, for messages. `embedded`: its fields are also those of the struct that it is in, and it is made of the same JSON. */
  | { struct: GoFields; name?: string; embedded?: boolean };

/** By Go's name, which is also JSON's unless that is given beside the type. */
export type GoFields = Readonly<Record<string, GoType | readonly [json: string, type: GoType]>>;

/** A type as Go's messages have it: `[]string`, `*swarm.Info`. */
function goTypeText(type: GoType): string {
  if (typeof type === "object") {
    if ("pointer" in type) return `*${goTypeText(type.pointer)}`;
    if ("slice" in type) return `[]${goTypeText(type.slice)}`;
    return "map" in type ? `map[string]${goTypeText(type.map)}` : (type.name ?? "struct");
  }
  return TYPE_TEXTS[type] ?? type;
}

const TYPE_TEXTS: Readonly<Record<string, string>> = {
  time: "time.Time",
  duration: "time.Duration",
  any: "interface {}",
};

/** Marks an object that stands for a whole row of a list, and has the type that messages call it. */
export const WHOLE_ROW = Symbol("row");

const SLICE_TYPE = Symbol("type of a slice");

/** The type of a value that goValue() has made, or of another one, in Go's words. */
export function typeOf(value: unknown): string {
  if (value instanceof Decoded) return goTypeText(value.type);
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "string";
  if (Array.isArray(value)) {
    const type = (value as { [SLICE_TYPE]?: GoType })[SLICE_TYPE];
    return type ? goTypeText(type) : "[]interface {}";
  }
  return rowType(value) ?? "map[string]interface {}";
}

/** What a row of a list is called. */
export function rowType(value: unknown): string | undefined {
  const marked = typeof value === "object" && value !== null && WHOLE_ROW in value;
  return marked ? String(value[WHOLE_ROW]) : undefined;
}

/** What JSON has for a value of Go's, whatever that looks like to a template. */
class Decoded {
  readonly #json: unknown;
  readonly #type: GoType;

  constructor(json: unknown, type: GoType) {
    this.#json = json;
    this.#type = type;
  }

  get type(): GoType {
    return this.#type;
  }

  toJSON(): unknown {
    return this.#json;
  }
}

/** A struct: its own properties are its fields, in their order. */
export class GoStruct extends Decoded {
  constructor(json: object, fields: GoFields, type: GoType) {
    super(json, type);
    const given = json as Record<string, unknown>;
    for (const [name, field] of Object.entries(fields)) {
      const [key, type] = isRenamed(field) ? field : [name, field];
      const isEmbedded = typeof type === "object" && "struct" in type && type.embedded;
      const value = goValue(isEmbedded ? json : given[key], type);
      Object.assign(this, { [name]: value });
      if (!isEmbedded || !(value instanceof GoStruct)) continue;
      for (const [promoted, one] of Object.entries(value))
        Object.defineProperty(this, promoted, { value: one });
    }
  }
}

/** A map, in which any key may be looked for, unless they are of a type of their own. */
export class GoMap extends Decoded {
  readonly #item: GoType;
  readonly #named: boolean;

  constructor(json: object | null, type: { map: GoType; named?: boolean }) {
    super(json, type);
    this.#item = type.map;
    this.#named = type.named ?? false;
    for (const [key, value] of Object.entries(json ?? {}))
      Object.assign(this, { [key]: goValue(value, type.map) });
  }

  get isNamed(): boolean {
    return this.#named;
  }

  /** What is under a key that is not there. */
  zero(): unknown {
    return goValue(null, this.#item);
  }
}

/** A pointer to nothing, a time or a duration: what has a text of its own. */
export class GoText extends Decoded {
  readonly #text: string;

  constructor(json: unknown, text: string, type: GoType) {
    super(json, type);
    this.#text = text;
  }

  get isNil(): boolean {
    return this.toJSON() === null;
  }

  /** Whether what it would point to has a field of this name. */
  hasField(name: string): boolean {
    const { type } = this;
    if (typeof type !== "object" || !("pointer" in type)) return false;
    const pointed = goValue({}, type.pointer);
    return pointed instanceof GoStruct && Object.hasOwn(pointed, name);
  }

  override toString(): string {
    return this.#text;
  }
}

/**
 * A value of JSON as Go decodes it into a type; undefined and null, for what is not there, become the zero value. JSON of another type
 * than this stays as it is.
 */
export function goValue(json: unknown, type: GoType): unknown {
  return goValueAs(json, type, type);
}

/** @param named the type as messages have it, which may be a pointer to the other */
function goValueAs(json: unknown, type: GoType, named: GoType): unknown {
  const value = json ?? null;
  if (typeof type === "object") {
    if ("pointer" in type) {
      if (value === null) return new GoText(null, "<nil>", type);
      return goValueAs(value, type.pointer, named);
    }
    if ("slice" in type) {
      const typed = (items: unknown[]) => Object.defineProperty(items, SLICE_TYPE, { value: type });
      if (value === null) return Object.defineProperty(typed([]), "toJSON", { value: () => null });
      return Array.isArray(value) ? typed(value.map((item) => goValue(item, type.slice))) : value;
    }
    if (typeof value !== "object" || Array.isArray(value)) return value;
    return "map" in type ? new GoMap(value, type) : new GoStruct(value ?? {}, type.struct, named);
  }
  switch (type) {
    case "string":
      return value ?? "";
    case "int":
      return value ?? 0;
    case "bool":
      return value ?? false;
    case "time":
      return timeValue(String(value ?? ZERO_TIME));
    case "duration":
      return new GoText(value ?? 0, durationText(Number(value ?? 0)), type);
    case "any":
      return value;
  }
}

function isRenamed(field: GoFields[string]): field is readonly [string, GoType] {
  return Array.isArray(field);
}

const ZERO_TIME = "0001-01-01T00:00:00Z";

/** As Go's time.Time prints itself; in JSON it has no zeros at the end either. */
function timeValue(rfc3339: string): GoText | string {
  const parts = /^(\S+)T([\d:]+)(?:\.(\d*?)0*)?(Z|[+-]\d\d:\d\d)$/.exec(rfc3339);
  if (!parts) return rfc3339;
  const [, date, seconds, fraction = "", zone = ""] = parts;
  const time = fraction === "" ? seconds : `${seconds}.${fraction}`;
  const offset = zone.replace(":", "");
  const place = zone === "Z" ? "+0000 UTC" : `${offset} ${offset}`;
  return new GoText(`${date}T${time}${zone}`, `${date} ${time} ${place}`, "time");
}

const UNITS = [
  [3_600_000_000_000, "h"],
  [60_000_000_000, "m"],
] as const;
const SMALL_UNITS = [
  [1_000_000, "ms"],
  [1000, "µs"],
  [1, "ns"],
] as const;
const SECOND = 1_000_000_000;

/** As Go's time.Duration prints itself: `1h0m0s`, `1.5s`, `20ms`. */
function durationText(nanoseconds: number): string {
  if (nanoseconds < 0) return `-${durationText(-nanoseconds)}`;
  if (nanoseconds === 0) return "0s";
  if (nanoseconds < SECOND) {
    const [size, unit] = SMALL_UNITS.find(([size]) => nanoseconds >= size) ?? [1, "ns"];
    return `${nanoseconds / size}${unit}`;
  }
  let rest = nanoseconds;
  let text = "";
  for (const [size, unit] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || text !== "") text += `${count}${unit}`;
  }
  return `${text}${rest / SECOND}s`;
}
