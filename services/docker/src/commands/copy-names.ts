import path from "node:path";
import { CliError } from "../cli-error.ts";

/** What is copied, or where to. */
export interface CopyEnd {
  /** As the user has it, but for links that were followed. */
  path: string;
  exists: boolean;
  isDirectory: boolean;
}

/** `CONTAINER:PATH`, or a path of this machine: what begins with a slash or a dot is always one. */
export function splitArgument(argument: string): { container: string | undefined; path: string } {
  const colon = argument.indexOf(":");
  if (path.isAbsolute(argument) || argument.startsWith(".") || colon < 0)
    return { container: undefined, path: argument };
  return { container: argument.slice(0, colon), path: argument.slice(colon + 1) };
}

/** The last name of a path; `.` for one that ends so. */
export function lastName(file: string): string {
  return /(^|\/)\.$/.test(file) ? "." : path.basename(file) || "/";
}

/** What of a directory an entry of its archive is in; undefined for the directory itself, and for what is in none. */
export function topName(entry: string): string | undefined {
  const [name] = entry.replace(/^(\.?\/)+/, "").split("/");
  return name === "" || name === "." || name === ".." ? undefined : name;
}

/**
 * What a name with wildcards means: `*`, `?` and `[a-z]`, as in a Dockerfile's COPY.
 *
 * @returns undefined for a name without any
 */
export function patternOf(name: string): RegExp | undefined {
  if (!/[*?[]/.test(name)) return undefined;
  const source = name.replace(/\\(.)|\[(\^?)([^\]]+)\]|[*?]|[^\w]/gsu, (part, escaped, not, set) => {
    if (escaped !== undefined) return literal(escaped);
    if (set !== undefined) return `[${not}${set.replace(/[\\[&~|(){}/^]/g, "\\$&")}]`;
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    return literal(part);
  });
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    throw new CliError(`${name}: syntax error in pattern`);
  }
}

/** A character as a regular expression has it, whatever it means there. */
function literal(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}

/**
 * The directory to unpack in, and what the copy is called there.
 *
 * @param name what the source is called
 * @throws CliError in Docker's words where it can't go
 */
export function placeCopy(
  source: Pick<CopyEnd, "isDirectory">,
  name: string,
  target: CopyEnd,
): { directory: string; name: string } {
  if (target.exists && target.isDirectory) return { directory: target.path, name };
  if (target.exists && source.isDirectory) throw new CliError("cannot copy directory");
  if (!source.isDirectory && /\/\.?$/.test(target.path)) throw new CliError("no such directory");
  return { directory: path.dirname(path.resolve("/", target.path)), name: path.basename(target.path) };
}

/** An entry's name with another first part. @param top the first part that all names have */
export function renamed(entry: string, top: string, name: string): string {
  const rest = entry === top || entry.startsWith(`${top}/`) ? entry.slice(top.length) : `/${entry}`;
  return `${name}${rest}`;
}
