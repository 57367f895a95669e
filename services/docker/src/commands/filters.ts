import type { Flag } from "../flags.ts";

export const FILTER_FLAG: Flag = {
  name: "filter",
  short: "f",
  kind: "list",
  value: "filter",
  help: "Filter output based on conditions provided",
  check(value) {
    if (!value.includes("=")) throw new Error("bad format of filter (expected name=value)");
  },
};

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
    add(filter.slice(0, equals).trim().toLowerCase(), filter.slice(equals + 1).trim());
  }
  for (const [key, value] of Object.entries(more)) add(key, value);
  return Object.keys(map).length > 0 ? JSON.stringify(map) : undefined;
}
