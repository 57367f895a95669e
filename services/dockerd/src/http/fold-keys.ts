import { EngineError } from "@longshore/errors";
import type { z } from "zod";

export interface FoldOptions {
  /** Refuse a key that differs in case: a reader that minds case, such as a plugin, would not find it. */
  exact?: boolean;
}

/**
 * A value whose objects have the keys of its schema, where they differ only in upper and lower case: Go's decoder, and so Docker, takes
 * `hostconfig` for `HostConfig`. A key that is written right counts more.
 */
export function foldKeys(schema: z.core.$ZodType, value: unknown, options: FoldOptions = {}): unknown {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "default":
    case "nullable":
    case "optional":
      return foldKeys(def.innerType, value, options);
    case "pipe":
      return foldKeys(def.in, value, options);
    case "union":
      return value;
    case "array":
      return Array.isArray(value) ? value.map((item) => foldKeys(def.element, item, options)) : value;
    case "record":
      if (!isObject(value)) return value;
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, foldKeys(def.valueType, item, options)]),
      );
    case "object":
      return isObject(value) ? foldObject(def.shape, value, options) : value;
    default:
      return value;
  }
}

function foldObject(
  shape: z.core.$ZodShape,
  value: Record<string, unknown>,
  options: FoldOptions,
): Record<string, unknown> {
  const nameOf = new Map(Object.keys(shape).map((name) => [name.toLowerCase(), name]));
  const entries = Object.entries(value).flatMap(([key, item]): [string, unknown][] => {
    const name = Object.hasOwn(shape, key) ? key : nameOf.get(key.toLowerCase());
    if (options.exact && name !== undefined && name !== key)
      throw new EngineError("invalid_argument", `ambiguous request: key ${JSON.stringify(key)} for ${name}`);
    if (name !== undefined && name !== key && Object.hasOwn(value, name)) return [];
    const field = name === undefined ? undefined : shape[name];
    return [[name ?? key, field ? foldKeys(field, item, options) : item]];
  });
  return Object.fromEntries(entries);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
