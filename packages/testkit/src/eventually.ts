import { setTimeout as delay } from "node:timers/promises";

export interface EventuallyOptions {
  timeoutMs?: number;
  /** What is waited for, for the error. */
  what?: string;
}

/**
 * Wait until `condition` gives something truthy, and return that. What it throws counts as "not yet", and is the cause of the
 * error when it stays so.
 */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 20_000, what = "a condition" }: EventuallyOptions = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  for (let waitMs = 5; ; waitMs = Math.min(waitMs * 1.5, 100)) {
    let failure: unknown;
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline)
      throw new Error(`${what} did not come true in ${timeoutMs / 1000} s`, { cause: failure });
    await delay(waitMs);
  }
}
