import { EngineError } from "@longshore/errors";
import type { Reference } from "@longshore/reference";
import type { Connection, Session } from "./session.ts";

/** Names that a page of a list shall have. */
export const PAGE = 1000;
const PAGE_LIMIT_BYTES = 16 << 20;
/** A list that is longer in any of these ways never ends; names are kept in memory. */
const NAMES_MAX = 1_000_000;
const PAGES_MAX = 10_000;
const EMPTY_PAGES_MAX = 100;
const LIST_LIMIT_BYTES = 32 << 20;

export interface ListRequest {
  target: string;
  scopes: readonly string[];
  /** What the list is of: `tags`, `repositories`, `referrers`. */
  key: string;
  subject?: Reference;
  headers?: Record<string, string>;
  /** Statuses by which a registry says that it has no such list; there are no pages then. */
  absent?: readonly number[];
  signal: AbortSignal;
}

/**
 * A list of names that a registry gives page by page, following its `Link` headers.
 *
 * @param limit so many are enough
 * @throws EngineError `data_loss` for a page that is none, and for a list without an end
 */
export async function readPages(
  session: Session,
  connection: Connection,
  { limit = NAMES_MAX, ...request }: ListRequest & { limit?: number },
): Promise<string[]> {
  const names: string[] = [];
  let empty = 0;
  for await (const page of pages(session, connection, request)) {
    const more = parsePage(page, request.key);
    empty = more.length === 0 ? empty + 1 : 0;
    if (empty > EMPTY_PAGES_MAX) throw endless(request.key);
    // One by one: a call takes only so many arguments.
    for (const name of more) names.push(name);
    if (names.length >= limit && limit < NAMES_MAX) return names.slice(0, limit);
    if (names.length > NAMES_MAX) throw endless(request.key);
  }
  return names;
}

/** The pages of a list, each as the registry sent it. @throws EngineError `data_loss` for a list without an end */
export async function* pages(
  session: Session,
  connection: Connection,
  { key, subject, absent = [], ...request }: ListRequest,
): AsyncGenerator<Buffer> {
  const seen = new Set<string>();
  let target: string | URL = request.target;
  for (let bytes = 0; ; ) {
    const response = await session.request(connection, { ...request, method: "GET", target });
    if (seen.size === 0 && absent.includes(response.status)) {
      await response.discard();
      return;
    }
    if (response.status !== 200) throw await session.refusal(response, subject);
    const page = await response.bytes(PAGE_LIMIT_BYTES);
    bytes += page.length;
    if (bytes > LIST_LIMIT_BYTES) throw endless(key);
    yield page;
    const next = nextPage(response.headers.get("link"), connection.api);
    if (!next) return;
    if (seen.has(next.href) || seen.size >= PAGES_MAX) throw endless(key);
    seen.add(next.href);
    target = next;
  }
}

function endless(key: string): EngineError {
  return new EngineError("data_loss", `the registry's list of ${key} has no end`);
}

/** The `next` of a `Link` header, which must stay at the registry. */
export function nextPage(link: string | null, api: string): URL | undefined {
  for (const [, target = "", parameters = ""] of (link ?? "").matchAll(/<([^>]*)>([^,<]*)/g)) {
    if (!/;\s*rel="?next"?/i.test(parameters)) continue;
    const url = URL.parse(target, api);
    return url && url.origin === new URL(api).origin ? url : undefined;
  }
  return undefined;
}

function parsePage(bytes: Buffer, key: string): string[] {
  let page: unknown;
  try {
    page = JSON.parse(bytes.toString());
  } catch (error) {
    throw new EngineError("data_loss", `the registry's list of ${key} is not JSON`, { cause: error });
  }
  const list = typeof page === "object" && page !== null ? (page as Record<string, unknown>)[key] : undefined;
  if (list === null || list === undefined) return [];
  if (!Array.isArray(list) || !list.every((name) => typeof name === "string")) {
    throw new EngineError("data_loss", `the registry's list of ${key} is none`);
  }
  return list as string[];
}
