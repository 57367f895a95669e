import type { Redis } from "ioredis";
import { failedCondition } from "./failed-condition.ts";
import type { Entry, Store } from "./store.ts";

/** Before every Redis key of ours. */
const KEY_PREFIX = "longshore:";

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

/** ARGV[1] is {conditions, changes} as JSON, buckets already as Redis keys; returns 0, or the 1-based failed condition. */
const COMMIT = `
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
return 0`;

/**
 * A store in Redis, for daemons that share state or keep none of their own.
 *
 * @param url `redis://[user:password@]host:port/database`, or `rediss://`
 * @throws EngineError as thrown by the commits; connection failures surface as plain errors after ioredis' retries
 */
export function openRedisStore(url: string): Store {
  // Loaded here: only users of this driver pay for ioredis.
  const { Redis } = require("ioredis") as typeof import("ioredis");
  const redis: Redis = new Redis(url, { maxRetriesPerRequest: 5, lazyConnect: false });
  // ioredis reconnects by itself; a command that runs out of retries rejects, which is where the failure is reported.
  redis.on("error", () => {});
  const bucketKey = (bucket: string) => KEY_PREFIX + bucket;

  return {
    async get(bucket, key) {
      return (await redis.hget(bucketKey(bucket), key)) ?? undefined;
    },
    async list(bucket, prefix = "") {
      const hash = bucketKey(bucket);
      const [min, max] = prefix === "" ? ["-", "+"] : [`[${prefix}`, `(${prefix}\u{10FFFF}`];
      const flat = (await redis.eval(LIST, 2, hash, `${hash}:keys`, min, max)) as string[];
      const entries: Entry[] = [];
      for (let i = 0; i + 1 < flat.length; i += 2) {
        entries.push({ key: flat[i] as string, value: flat[i + 1] as string });
      }
      return entries;
    },
    async commit(changes, conditions = []) {
      const rekey = <T extends { bucket: string }>(item: T): T => ({
        ...item,
        bucket: bucketKey(item.bucket),
      });
      const work = { conditions: conditions.map(rekey), changes: changes.map(rekey) };
      const buckets = [...new Set([...work.conditions, ...work.changes].map((item) => item.bucket))];
      const failed = await redis.eval(COMMIT, buckets.length, ...buckets, JSON.stringify(work));
      const condition = conditions[Number(failed) - 1];
      if (condition) throw failedCondition(condition);
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect();
    },
  };
}
