import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import { OPTIONS, type OptionKey, type OptionValues, optionKeys, UNSUPPORTED } from "./options.ts";

/**
 * What a configuration file asks for.
 *
 * @returns undefined when there is no such file
 * @throws EngineError `invalid_argument` in Docker's words for a file that isn't a JSON object, a key that nobody knows or that a flag
 *   gives as well, a value of the wrong kind; and for what is not supported, by its name
 */
export function readConfigFile(file: string, flags: OptionValues): OptionValues | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
  return parseConfig(text, flags);
}

export function parseConfig(text: string, flags: OptionValues): OptionValues {
  const trimmed = text.replace(/^\uFEFF/, "").trim();
  if (trimmed === "") return {};
  const document = withProxies(parseObject(trimmed));
  const unknown = Object.keys(document).filter((key) => !isOption(key) && !Object.hasOwn(UNSUPPORTED, key));
  if (unknown.length > 0)
    throw invalid(`the following directives don't match any configuration option: ${unknown.join(", ")}`);
  const conflicts = optionKeys
    // A runtime more can be added by flag.
    .filter((key) => key !== "runtimes" && flags[key] !== undefined && document[key] !== undefined)
    .map((key) => `${key}: (from flag: ${show(flags[key])}, from file: ${show(document[key])})`);
  if (conflicts.length > 0) {
    throw invalid(
      `the following directives are specified both as a flag and in the configuration file: ${conflicts.join(", ")}`,
    );
  }
  for (const [key, value] of Object.entries(document)) {
    const other = UNSUPPORTED[key];
    if (!other || other.harmless.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value)))
      continue;
    throw invalid(`${key}: ${JSON.stringify(value)} is not supported`);
  }
  const values = Object.entries(document).filter(([key]) => isOption(key));
  return Object.fromEntries(values.map(([key, value]) => [key, checkValue(key as OptionKey, value)]));
}

/** The keys in `proxies` beside the others, which have the same names as flags. */
function withProxies({ proxies, ...document }: Record<string, unknown>): Record<string, unknown> {
  if (proxies === undefined) return document;
  if (typeof proxies !== "object" || proxies === null || Array.isArray(proxies))
    throw invalid("proxies: must hold an object");
  const known = ["http-proxy", "https-proxy", "no-proxy"];
  const unknown = Object.keys(proxies).filter((key) => !known.includes(key));
  if (unknown.length > 0)
    throw invalid(`the following directives don't match any configuration option: ${unknown.join(", ")}`);
  return { ...document, ...proxies };
}

/** @throws EngineError `invalid_argument` */
export function checkValue(key: OptionKey, value: unknown, name: string = key): unknown {
  const parsed = OPTIONS[key].schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`${[name, ...(issue?.path ?? [])].join(".")}: ${issue?.message}`);
}

function isOption(key: string): key is OptionKey {
  return Object.hasOwn(OPTIONS, key);
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`invalid JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid("invalid JSON: the file must hold an object");
  return value as Record<string, unknown>;
}

/** A value as Docker shows it in this place. */
function show(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(show).join(" ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, inner]) => `${key}:${show(inner)}`).join(" ")}]`;
  }
  return String(value);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
