import { EngineError } from "@longshore/errors";

/** Throws an EngineError naming the field when a value has the wrong shape. */
export type Check = (value: unknown, field: string) => void;

export function wrong(field: string, expected: string): never {
  throw new EngineError("invalid_argument", `invalid ${field}: must be ${expected}`);
}

export const string: Check = (value, field) => {
  if (typeof value !== "string") wrong(field, "a string");
  // It would end the string for the kernel, and mean something else than what was checked.
  if (value.includes("\0")) wrong(field, "without NUL bytes");
};

export const boolean: Check = (value, field) => {
  if (typeof value !== "boolean") wrong(field, "true or false");
};

/** A whole number; beyond 2^53 it is no longer exact, which limits such as "no limit" don't need. */
export function integer(min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): Check {
  return (value, field) => {
    if (typeof value !== "number" || !Number.isInteger(value)) wrong(field, "a whole number");
    if (value < min || value > max) wrong(field, `between ${min} and ${max}`);
  };
}

export function oneOf(...values: readonly string[]): Check {
  return (value, field) => {
    if (typeof value !== "string" || !values.includes(value)) wrong(field, `one of ${values.join(", ")}`);
  };
}

// JSON null stands for "left out", as in Go's decoder.
export function array(of: Check): Check {
  return (value, field) => {
    if (!Array.isArray(value)) wrong(field, "an array");
    for (let index = 0; index < value.length; index++) of(value[index], `${field}[${index}]`);
  };
}

export function record(of: Check): Check {
  return (value, field) => {
    for (const [key, entry] of Object.entries(asObject(value, field)))
      of(entry, `${field}[${JSON.stringify(key)}]`);
  };
}

export function asObject(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrong(field, "an object");
  return value as Record<string, unknown>;
}

/** A field that the specification has and we don't: said by name, unless it asks for nothing. */
export const unsupported: Check = (value, field) => {
  const nothing =
    value === "" ||
    value === false ||
    (typeof value === "object" && value !== null && Object.keys(value).length === 0);
  if (!nothing) throw new EngineError("unimplemented", `${field} is not supported`);
};

/** An object; members without a check are unknown to the specification and are left alone, `null` ones removed. */
export function object(checks: Record<string, Check>, required: readonly string[] = []): Check {
  return (value, field) => {
    const members = asObject(value, field);
    for (const [key, member] of Object.entries(members)) {
      if (member === null) delete members[key];
      else if (Object.hasOwn(checks, key)) checks[key]?.(member, field === "" ? key : `${field}.${key}`);
    }
    for (const key of required) {
      if (members[key] === undefined) wrong(field === "" ? key : `${field}.${key}`, "present");
    }
  };
}
