import { EngineError } from "@longshore/errors";

/**
 * A link as clients write it, `NAME[:ALIAS]`, or as inspect shows it, `/NAME:/CONTAINER/ALIAS`.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function parseLink(text: string): { name: string; alias: string } {
  if (text === "") throw new EngineError("invalid_argument", "empty string specified for links");
  const [given = "", alias, ...more] = text.split(":");
  const name = given.replace(/^\//, "");
  const last = alias?.slice(alias.lastIndexOf("/") + 1);
  if (more.length > 0 || name === "" || last === "") {
    throw new EngineError("invalid_argument", `bad format for links: ${text}`);
  }
  return { name, alias: last ?? name };
}
