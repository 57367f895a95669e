/**
 * Find a parameter that a query has twice and that is not a list. The engine, like Docker, takes
 * the first value; other readers take the last one.
 *
 * @param lists parameters of which the operation reads all values
 * @returns its name; undefined without one
 */
export function repeatedParameter(query: URLSearchParams, lists: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const name of query.keys()) {
    if (seen.has(name) && !lists.includes(name)) return name;
    seen.add(name);
  }
  return undefined;
}
