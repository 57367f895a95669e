const PAUSE_MAX_MS = 8000;

/** The pause after the nth attempt (from 1) in ms: doubling, with up to a quarter of jitter, so that clients spread. */
export function backoff(attempt: number, firstMs: number, random: () => number = Math.random): number {
  const ms = Math.min(PAUSE_MAX_MS, firstMs * 2 ** (attempt - 1));
  return ms * (1 + random() / 4);
}

/** A `Retry-After` header (seconds or a date) in ms; undefined when there is none that can be read. */
export function retryAfterMs(header: string | null, now: number = Date.now()): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
