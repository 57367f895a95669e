import { EngineError } from "@longshore/errors";
import { openRedisStore } from "./redis-store.ts";
import { openSqliteStore } from "./sqlite-store.ts";
import type { Store } from "./store.ts";

/**
 * Open the store that a URL names: `sqlite:/path/file.db` (made when missing), `sqlite::memory:`, `redis://…` or `rediss://…`.
 *
 * @throws EngineError `invalid_argument` for another scheme
 */
export function openStore(url: string): Store {
  const scheme = url.slice(0, url.indexOf(":"));
  if (scheme === "sqlite") return openSqliteStore(url.slice("sqlite:".length));
  if (scheme === "redis" || scheme === "rediss") return openRedisStore(url);
  throw new EngineError(
    "invalid_argument",
    `no store driver for ${JSON.stringify(scheme)}: use sqlite: or redis:`,
  );
}
