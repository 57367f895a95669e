import { CliError } from "../cli-error.ts";

/** `key=value` filters as the API wants them, JSON; undefined when there are none. */
export function parseFilters(
  filters: readonly string[],
  more: Readonly<Record<string, string>> = {},
): string | undefined {
  const map: Record<string, Record<string, boolean>> = {};
  const add = (key: string, value: string) => {
    map[key] = { ...map[key], [value]: true };
  };
  for (const filter of filters) {
    const equals = filter.indexOf("=");
    if (equals < 0)
      throw new CliError(
        `invalid argument ${JSON.stringify(filter)} for "-f, --filter" flag: invalid filter '${filter}'`,
        125,
      );
    add(filter.slice(0, equals).trim().toLowerCase(), filter.slice(equals + 1).trim());
  }
  for (const [key, value] of Object.entries(more)) add(key, value);
  return Object.keys(map).length > 0 ? JSON.stringify(map) : undefined;
}
