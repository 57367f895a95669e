import { EngineError } from "@longshore/errors";
import type { Reference } from "@longshore/reference";
import type { Connection, Session } from "./session.ts";

/** Names that a page of a list shall have. */
export const PAGE = 1000;
const PAGE_LIMIT_BYTES = 16 << 20;
/** A list that is longer never ends. */
const NAMES_MAX = 1_000_000;

/**
 * A list of names that a registry gives page by page, following its `Link` headers.
 * @throws EngineError `data_loss` for a page that is none, and for a list without an end
 */
export async function readPages(
  session: Session,
  connection: Connection,
  options: {
    target: string;
    scopes: readonly string[];
    /** Of the list in each page: `tags`, `repositories`. */
    key: string;
    subject?: Reference;
    signal: AbortSignal;
    /** Enough of them. */
    limit?: number;
  },
): Promise<string[]> {
  const { scopes, key, subject, signal, limit = NAMES_MAX } = options;
  const names: string[] = [];
  const seen = new Set<string>();
  let target: string | URL = options.target;
  for (;;) {
    const response = await session.request(connection, { method: "GET", target, scopes, signal });
    if (response.status !== 200) throw await session.refusal(response, subject);
    names.push(...parsePage(await response.bytes(PAGE_LIMIT_BYTES), key));
    if (names.length >= limit && limit < NAMES_MAX) return names.slice(0, limit);
    const next = nextPage(response.headers.get("link"), connection.api);
    if (!next) return names;
    if (seen.has(next.href) || names.length >= NAMES_MAX) {
      throw new EngineError("data_loss", `the registry's list of ${key} has no end`);
    }
    seen.add(next.href);
    target = next;
  }
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
