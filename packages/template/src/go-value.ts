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
  | { struct: GoFields };

/** By Go's name, which is also JSON's unless that is given beside the type. */
export type GoFields = Readonly<Record<string, GoType | readonly [json: string, type: GoType]>>;

/** What JSON has for a value of Go's, whatever that looks like to a template. */
class Decoded {
  readonly #json: unknown;

  constructor(json: unknown) {
    this.#json = json;
  }

  toJSON(): unknown {
    return this.#json;
  }
}

/** A struct: its own properties are its fields, in their order. */
export class GoStruct extends Decoded {
  constructor(json: object, fields: GoFields) {
    super(json);
    const given = json as Record<string, unknown>;
    for (const [name, field] of Object.entries(fields)) {
      const [key, type] = isRenamed(field) ? field : [name, field];
      Object.assign(this, { [name]: goValue(given[key], type) });
    }
  }
}

/** A map, in which any key may be looked for, unless they are of a type of their own. */
export class GoMap extends Decoded {
  readonly #type: GoType;
  readonly #named: boolean;

  constructor(json: object | null, { map: type, named = false }: { map: GoType; named?: boolean }) {
    super(json);
    this.#type = type;
    this.#named = named;
    for (const [key, value] of Object.entries(json ?? {}))
      Object.assign(this, { [key]: goValue(value, type) });
  }

  get isNamed(): boolean {
    return this.#named;
  }

  /** What is under a key that is not there. */
  zero(): unknown {
    return goValue(null, this.#type);
  }
}

/** A pointer to nothing, a time or a duration: what has a text of its own. */
export class GoText extends Decoded {
  readonly #text: string;

  constructor(json: unknown, text: string) {
    super(json);
    this.#text = text;
  }

  get isNil(): boolean {
    return this.toJSON() === null;
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
  const value = json ?? null;
  if (typeof type === "object") {
    if ("pointer" in type) return value === null ? new GoText(null, "<nil>") : goValue(value, type.pointer);
    if ("slice" in type) {
      if (value === null) return Object.defineProperty([], "toJSON", { value: () => null });
      return Array.isArray(value) ? value.map((item) => goValue(item, type.slice)) : value;
    }
    if (typeof value !== "object" || Array.isArray(value)) return value;
    return "map" in type ? new GoMap(value, type) : new GoStruct(value ?? {}, type.struct);
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
      return new GoText(value ?? 0, durationText(Number(value ?? 0)));
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
  return new GoText(`${date}T${time}${zone}`, `${date} ${time} ${place}`);
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
