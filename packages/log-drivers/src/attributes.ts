import type { AboutContainer } from "./about.ts";
import { invalid, type Options } from "./options.ts";

/** Options that choose what of a container goes with each of its lines. */
export const ATTRIBUTE_OPTIONS = ["labels", "labels-regex", "env", "env-regex"];

/**
 * Labels and variables of a container that its log options name.
 * @throws EngineError `invalid_argument` for an expression that can't be read
 */
export function attributesOf(options: Options, { labels, env }: AboutContainer): Record<string, string> {
  const variables = env.flatMap((entry): [string, string][] => {
    const at = entry.indexOf("=");
    return at < 0 ? [] : [[entry.slice(0, at), entry.slice(at + 1)]];
  });
  return Object.fromEntries([
    ...chosen(Object.entries(labels), options.labels, options["labels-regex"]),
    ...chosen(variables, options.env, options["env-regex"]),
  ]);
}

/** @throws EngineError `invalid_argument` for an expression that can't be read */
export function checkAttributes(options: Options): void {
  for (const name of ["labels-regex", "env-regex"]) expression(options[name]);
}

function chosen(
  entries: readonly (readonly [string, string])[],
  names: string | undefined,
  pattern: string | undefined,
): (readonly [string, string])[] {
  const wanted = new Set((names ?? "").split(",").filter((name) => name !== ""));
  const matching = expression(pattern);
  return entries.filter(([name]) => wanted.has(name) || matching?.test(name));
}

function expression(pattern: string | undefined): RegExp | undefined {
  if (pattern === undefined || pattern === "") return undefined;
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw invalid(`error parsing regexp: ${error instanceof Error ? error.message : String(error)}`);
  }
}
