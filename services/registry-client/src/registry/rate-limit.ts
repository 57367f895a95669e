/** How many pulls a registry lets us make, as Docker Hub tells it. */
export interface RateLimit {
  readonly limit: number;
  readonly remaining: number;
  /** Of the limit; 0 when the registry doesn't say. */
  readonly windowS: number;
  /** Whom it counts: an address or an account; empty when the registry doesn't say. */
  readonly source: string;
}

/** From `ratelimit-limit: 100;w=21600`, `ratelimit-remaining` and `docker-ratelimit-source`; undefined without them. */
export function rateLimitOf(headers: Headers): RateLimit | undefined {
  const limit = parse(headers.get("ratelimit-limit"));
  const remaining = parse(headers.get("ratelimit-remaining"));
  if (!limit || !remaining) return undefined;
  return {
    limit: limit.count,
    remaining: remaining.count,
    windowS: limit.windowS || remaining.windowS,
    source: headers.get("docker-ratelimit-source") ?? "",
  };
}

function parse(value: string | null): { count: number; windowS: number } | undefined {
  const [, count, window] = /^\s*(\d{1,9})\s*(?:;\s*w=(\d{1,9}))?/.exec(value ?? "") ?? [];
  return count === undefined ? undefined : { count: Number(count), windowS: Number(window ?? 0) };
}
