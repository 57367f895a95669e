import { EngineError } from "@longshore/errors";

/** The target of a request, as every reader of it understands it. */
export interface RequestTarget {
  /** As the client has sent it. */
  readonly uri: string;
  /** Percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/** Characters of a path at which no parser ends or changes it. */
const PLAIN_PATH = /^[!$-:<=@[\]^_`a-z{|}~]*$/i;
/** What ends a target, or splits the line that it stands in. */
const NOT_IN_QUERY = /[\0- \x7f#]/;
const BAD_ENCODING = /%(?![0-9a-f]{2})/i;
/** A letter, digit, `-`, `.`, `_` or `~`, which has no need of an encoding, or a character that no name has. */
const NEEDLESS_ENCODING = /%(2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae]|[01][0-9a-f]|7f|5c|23|3f)/i;

/**
 * Take a request's target apart, and refuse one that two readers could understand differently: the router on the one side, an
 * authorization plugin or a proxy on the other.
 *
 * @throws EngineError `invalid_argument` for a target in another form than RFC 9112's origin-form,
 *   a fragment, a backslash, a control character, a semicolon that is not encoded, a broken or
 *   needless percent-encoding, an empty segment, `.` or `..`
 */
export function parseTarget(uri: string): RequestTarget {
  const refuse = (why: string) =>
    new EngineError("invalid_argument", `invalid request URI ${JSON.stringify(uri.slice(0, 200))}: ${why}`);
  if (!uri.startsWith("/")) throw refuse("not a path");
  if (BAD_ENCODING.test(uri)) throw refuse("invalid URL escape");
  const mark = uri.indexOf("?");
  const path = mark === -1 ? uri : uri.slice(0, mark);
  const query = mark === -1 ? "" : uri.slice(mark + 1);
  if (!PLAIN_PATH.test(path) || NOT_IN_QUERY.test(query)) throw refuse("a character that is not allowed");
  // Some readers separate parameters by it, as by `&`.
  if (query.includes(";")) throw refuse("invalid semicolon separator in query");
  if (NEEDLESS_ENCODING.test(path)) throw refuse("an escape that is not needed");
  const segments = path.slice(1).split("/");
  if (segments.some((segment) => segment === "." || segment === "..")) throw refuse("a segment of dots");
  // One at the end belongs to no route.
  if (segments.slice(0, -1).includes("")) throw refuse("an empty segment");
  return { uri, path, query: new URLSearchParams(query) };
}
