/** Parameters that are lists: all their values count, for every reader. */
const LISTS: ReadonlySet<string> = new Set(["changes", "names", "platform", "platforms", "type"]);

/**
 * Find a parameter of a query that stands there twice and is no list. The engine, as Docker, takes
 * the first value; other readers take the last one.
 *
 * @returns its name; undefined without one
 */
export function repeatedParameter(query: URLSearchParams): string | undefined {
  const seen = new Set<string>();
  for (const name of query.keys()) {
    if (seen.has(name) && !LISTS.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}
