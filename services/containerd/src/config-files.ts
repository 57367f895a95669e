import fs from "node:fs";
import path from "node:path";
import { UsageError } from "@longshore/cli";
import { isErrno } from "@longshore/errors";
import { invalid } from "./config-reader.ts";

export type Document = Record<string, unknown>;

/** Lists that grow by each file, instead of being replaced. */
const GROWING = ["disabled_plugins", "required_plugins"];

/**
 * A configuration file with what it imports, over it in the order in which it is imported; each file counts once.
 *
 * @returns undefined when the file itself isn't there and needn't be
 */
export function readConfigFiles(file: string, required: boolean): Document | undefined {
  const pending = [file];
  const seen = new Set<string>();
  let merged: Document | undefined;
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const text = readIfThere(next, required || next !== file);
    if (text === undefined) return undefined;
    const { imports = [], ...document } = parseToml(text, next);
    merged = merged ? merge(merged, document) : document;
    pending.push(...resolveImports(next, imports));
  }
  return merged;
}

function resolveImports(file: string, imports: unknown): string[] {
  if (!Array.isArray(imports)) throw invalid("imports must be a list");
  return imports.flatMap((entry) => {
    if (typeof entry !== "string") throw invalid("imports must be a list of strings");
    const pattern = path.resolve(path.dirname(file), entry);
    return entry.includes("*") ? fs.globSync(pattern).sort() : [pattern];
  });
}

function merge(below: Document, above: Document): Document {
  const merged: Document = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const old = merged[key];
    if (isTable(old) && isTable(value)) merged[key] = merge(old, value);
    else if (GROWING.includes(key) && Array.isArray(old) && Array.isArray(value))
      merged[key] = [...old, ...value];
    else merged[key] = value;
  }
  return merged;
}

function isTable(value: unknown): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readIfThere(file: string, required: boolean): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    if (!required) return undefined;
    throw new UsageError(`failed to load TOML: ${file}: open ${file}: no such file or directory`);
  }
}

export function parseToml(text: string, file: string): Document {
  try {
    return Bun.TOML.parse(text) as Document;
  } catch (error) {
    throw invalid(`failed to load TOML: ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
