/**
 * JSON text with line ends and indents, all else of it as it is: numbers, the order of keys, escapes.
 *
 * @param text must be JSON
 * @see Go's `json.Indent`
 */
export function indentJson(text: string, indent: string): string {
  let out = "";
  let depth = 0;
  const line = () => `\n${indent.repeat(depth)}`;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "{" || token === "[") {
      depth += 1;
      out += token + line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      out += line() + token;
    } else if (token === ",") out += token + line();
    else if (token === ":") out += ": ";
    else out += /^[{[]/.test(token) ? token.replace(/\s/g, "") : token;
  }
  return out;
}

/** What Go's encoder writes in place of what might be HTML. */
export function escapeHtml(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
