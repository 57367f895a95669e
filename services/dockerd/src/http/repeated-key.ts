/** A string, an end or a separator of JSON. Strings are matched whole, so that what is in them is not taken for one of the others. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]/gs;

/**
 * Find a key that an object of a JSON text has twice. JavaScript takes the last value; Go's decoder, which most plugins use, merges
 * both into one field.
 *
 * @returns the key; undefined without one, and for a text that isn't JSON, which is refused elsewhere
 */
export function repeatedKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let last: string | undefined;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (token === ":" && last !== undefined) {
      const keys = open.at(-1);
      const key = parsedKey(last);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
    last = token.startsWith('"') ? token : undefined;
  }
  return undefined;
}

function parsedKey(token: string): string {
  try {
    return JSON.parse(token) as string;
  } catch {
    return token;
  }
}
