import fs from "node:fs";
import path from "node:path";
import { failedCondition } from "./failed-condition.ts";
import type { Change, Condition, Entry, Store } from "./store.ts";

/** Sorts after every text that starts with the prefix it is appended to. */
const LAST_CHARACTER = "\u{10FFFF}";

/** With NORMAL the log reaches the disk with a later commit, or with a checkpoint, which stays safe. */
const EACH_TO_DISK = "PRAGMA synchronous = FULL";

/**
 * A store in one SQLite file: write-ahead log, one fsync per commit that is to outlive the machine.
 *
 * @param file path of the database, made with its directory when missing; `:memory:` for one that is never written
 */
export function openSqliteStore(file: string): Store {
  // Loaded here: only users of this driver pay for SQLite.
  const { Database } = require("bun:sqlite") as typeof import("bun:sqlite");
  if (file !== ":memory:") {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o711 });
    // SQLite gives the log beside it the same permissions.
    fs.closeSync(fs.openSync(file, "a", 0o600));
  }
  const database = new Database(file, { create: true, strict: true });
  database.run("PRAGMA busy_timeout = 5000");
  database.run("PRAGMA journal_mode = WAL");
  database.run(EACH_TO_DISK);
  database.run(
    "CREATE TABLE IF NOT EXISTS entries (bucket TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID",
  );

  const select = database.query<{ value: string }, [string, string]>(
    "SELECT value FROM entries WHERE bucket = ? AND key = ?",
  );
  const all = database.query<Entry, [string]>("SELECT key, value FROM entries WHERE bucket = ? ORDER BY key");
  const range = database.query<Entry, [string, string, string]>(
    "SELECT key, value FROM entries WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key",
  );
  const put = database.query<never, [string, string, string]>(
    "INSERT INTO entries (bucket, key, value) VALUES (?, ?, ?) ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value",
  );
  const remove = database.query<never, [string, string]>("DELETE FROM entries WHERE bucket = ? AND key = ?");

  const holds = (condition: Condition): boolean => {
    const found = select.get(condition.bucket, condition.key);
    if (condition.is === "absent") return found === null;
    if (condition.is === "present") return found !== null;
    return found?.value === condition.value;
  };

  const apply = database.transaction((changes: readonly Change[], conditions: readonly Condition[]) => {
    for (const condition of conditions) if (!holds(condition)) throw failedCondition(condition);
    for (const change of changes) {
      if (change.op === "put") put.run(change.bucket, change.key, change.value);
      else remove.run(change.bucket, change.key);
    }
  });

  let open = true;
  return {
    async get(bucket, key) {
      return select.get(bucket, key)?.value;
    },
    async list(bucket, prefix = "") {
      return prefix === "" ? all.all(bucket) : range.all(bucket, prefix, prefix + LAST_CHARACTER);
    },
    async commit(changes, conditions = [], { outlive = "machine" } = {}) {
      if (outlive === "process") database.run("PRAGMA synchronous = NORMAL");
      try {
        // Immediate: the write lock comes before the conditions are read.
        apply.immediate(changes, conditions);
      } finally {
        if (outlive === "process") database.run(EACH_TO_DISK);
      }
    },
    async check() {},
    async [Symbol.asyncDispose]() {
      if (!open) return;
      open = false;
      database.close();
    },
  };
}
