/** Of fields for the engine those that were given: nothing empty, and no 0. */
export function onlyGiven(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const isGiven = (value: unknown) =>
    typeof value === "object" && value !== null
      ? Object.keys(value).length > 0
      : value !== "" && value !== 0 && value !== false && value !== undefined;
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => isGiven(value)));
}

/** `key=value` words as a map; without the `=` the value is empty. */
export function pairs(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((text) => {
      const equals = text.indexOf("=");
      return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}
