import { EngineError } from "@longshore/errors";
import type { Redis } from "ioredis";
import { failedCondition } from "./failed-condition.ts";
import type { Entry, Store } from "./store.ts";

/** Before every Redis key of ours. */
const KEY_PREFIX = "longshore:";
/** How long a commit's own mark is kept: longer than any connection takes to send it again. */
const COMMITTED_SECONDS = 600;
const CONNECT_TIMEOUT_MS = 2000;
const COMMAND_TIMEOUT_MS = 5000;
const RECONNECT_MAX_MS = 500;

/*
 * A bucket is a hash `longshore:<bucket>` (key → value) and a sorted set `longshore:<bucket>:keys` (all scores 0, so that it
 * sorts by bytes), which answers prefix queries. Scripts run atomically.
 */

const LIST = `
local keys = redis.call("ZRANGEBYLEX", KEYS[2], ARGV[1], ARGV[2])
local result = {}
for i = 1, #keys do
  result[2 * i - 1] = keys[i]
  result[2 * i] = redis.call("HGET", KEYS[1], keys[i])
end
return result`;

/**
 * KEYS[1] marks this commit: sent a second time after its connection broke, it changes nothing more. ARGV[1] is {conditions, changes} as
 * JSON, buckets already as Redis keys; returns 0, or the 1-based failed condition.
 */
const COMMIT = `
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
local work = cjson.decode(ARGV[1])
for i, c in ipairs(work.conditions) do
  local found = redis.call("HGET", c.bucket, c.key)
  local holds
  if c.is == "absent" then holds = not found
  elseif c.is == "present" then holds = found and true
  else holds = found == c.value end
  if not holds then return i end
end
for _, c in ipairs(work.changes) do
  if c.op == "put" then
    redis.call("HSET", c.bucket, c.key, c.value)
    redis.call("ZADD", c.bucket .. ":keys", 0, c.key)
  else
    redis.call("HDEL", c.bucket, c.key)
    redis.call("ZREM", c.bucket .. ":keys", c.key)
  end
end
redis.call("SET", KEYS[1], "1", "EX", ARGV[2])
return 0`;

/**
 * A store in Redis, for daemons that share state or keep none of their own.
 *
 * @param url `redis://[user:password@]host:port/database`, or `rediss://`
 * @throws EngineError from all operations: `unavailable` while the server can't be reached; it is connected to again by itself
 */
export function openRedisStore(url: string): Store {
  // Loaded here: only users of this driver pay for ioredis.
  const { Redis } = require("ioredis") as typeof import("ioredis");
  const redis: Redis = new Redis(url, {
    maxRetriesPerRequest: 1,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: (attempt) => Math.min(50 * attempt, RECONNECT_MAX_MS),
  });
  // ioredis reconnects by itself; each command that fails meanwhile tells who wanted it.
  redis.on("error", () => {});
  const bucketKey = (bucket: string) => KEY_PREFIX + bucket;
  const ask = async <T>(question: () => Promise<T>): Promise<T> => {
    try {
      return await question();
    } catch (error) {
      throw storeError(url, error);
    }
  };

  return {
    get: (bucket, key) => ask(async () => (await redis.hget(bucketKey(bucket), key)) ?? undefined),
    list: (bucket, prefix = "") =>
      ask(async () => {
        const hash = bucketKey(bucket);
        const [min, max] = prefix === "" ? ["-", "+"] : [`[${prefix}`, `(${prefix}\u{10FFFF}`];
        const flat = (await redis.eval(LIST, 2, hash, `${hash}:keys`, min, max)) as string[];
        const entries: Entry[] = [];
        for (let i = 0; i + 1 < flat.length; i += 2) {
          entries.push({ key: flat[i] as string, value: flat[i + 1] as string });
        }
        return entries;
      }),
    async commit(changes, conditions = []) {
      const rekey = <T extends { bucket: string }>(item: T): T => ({
        ...item,
        bucket: bucketKey(item.bucket),
      });
      const work = { conditions: conditions.map(rekey), changes: changes.map(rekey) };
      const buckets = [...new Set([...work.conditions, ...work.changes].map((item) => item.bucket))];
      const keys = [`${KEY_PREFIX}committed:${crypto.randomUUID()}`, ...buckets];
      const args = [JSON.stringify(work), COMMITTED_SECONDS];
      const failed = await ask(() => redis.eval(COMMIT, keys.length, ...keys, ...args));
      const condition = conditions[Number(failed) - 1];
      if (condition) throw failedCondition(condition);
    },
    async check() {
      await ask(() => redis.ping());
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect();
    },
  };
}

/** An answer of the server's is a fault of ours; anything else means that it doesn't answer. */
function storeError(url: string, error: unknown): unknown {
  if (
    !(error instanceof Error) ||
    (error.name === "ReplyError" && !/^(LOADING|BUSY|READONLY)/.test(error.message))
  )
    return error;
  const { host } = new URL(url);
  const why = error.name === "MaxRetriesPerRequestError" ? "no connection" : error.message;
  return new EngineError("unavailable", `the state store at redis://${host} can't be reached: ${why}`, {
    cause: error,
  });
}
