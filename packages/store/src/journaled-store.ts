import fs from "node:fs";
import path from "node:path";
import { errorCode } from "@longshore/errors";
import { Mutex } from "./mutex.ts";
import type { Change, Store } from "./store.ts";

const RETRY_MS = 500;

/**
 * A store whose server may be away: commits that ask for `whenAway: "keep"` are then written to a journal on the local disk, and reach the
 * server, in order, before anything else does when it is back. What is read while some wait is as the server last knew it.
 *
 * @param file the journal; what a daemon that was killed has left in it counts
 * @param onWaiting told when the first commit has to wait, and when none does any more
 */
export function journaledStore(store: Store, file: string, onWaiting: (waits: boolean) => void): Store {
  const journal = new Journal(file);
  const turns = new Mutex();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  /** What waits comes first. @throws EngineError `unavailable` */
  async function settle(): Promise<void> {
    if (journal.isEmpty) return;
    for (let changes = journal.first; changes; changes = journal.first) {
      await store.commit(changes);
      journal.shift();
    }
    journal.clear();
    onWaiting(false);
  }

  function retryLater(): void {
    if (timer || closed) return;
    timer = setTimeout(() => {
      timer = undefined;
      turns.run(settle).catch(retryLater);
    }, RETRY_MS);
    timer.unref();
  }
  if (!journal.isEmpty) retryLater();

  return {
    async get(bucket, key) {
      await turns.run(settle);
      return store.get(bucket, key);
    },
    async list(bucket, prefix) {
      await turns.run(settle);
      return store.list(bucket, prefix);
    },
    commit(changes, conditions = [], options = {}) {
      return turns.run(async () => {
        try {
          await settle();
          await store.commit(changes, conditions, options);
        } catch (error) {
          if (errorCode(error) !== "unavailable" || options.whenAway !== "keep") throw error;
          const first = journal.isEmpty;
          journal.push(changes);
          if (first) onWaiting(true);
          retryLater();
        }
      });
    },
    check: () => store.check(),
    async [Symbol.asyncDispose]() {
      closed = true;
      clearTimeout(timer);
      await turns.run(settle).catch(() => {}); // the next daemon finds it
      journal.close();
      await store[Symbol.asyncDispose]();
    },
  };
}

/** Commits, one a line of JSON, each on disk before it counts. */
class Journal {
  private readonly file: string;
  private readonly waiting: Change[][];
  private fd: number | undefined;

  constructor(file: string) {
    this.file = file;
    this.waiting = readJournal(file);
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  get first(): readonly Change[] | undefined {
    return this.waiting[0];
  }

  push(changes: readonly Change[]): void {
    if (this.fd === undefined) {
      fs.mkdirSync(path.dirname(this.file), { recursive: true });
      this.fd = fs.openSync(this.file, "a", 0o600);
    }
    fs.writeSync(this.fd, `${JSON.stringify(changes)}\n`);
    fs.fdatasyncSync(this.fd);
    this.waiting.push([...changes]);
  }

  /** The first one is with the server. Should it be sent again after a crash, it changes nothing. */
  shift(): void {
    this.waiting.shift();
  }

  clear(): void {
    fs.rmSync(this.file, { force: true });
    this.close();
  }

  close(): void {
    if (this.fd !== undefined) fs.closeSync(this.fd);
    this.fd = undefined;
  }
}

function readJournal(file: string): Change[][] {
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, "utf8").split("\n");
  // What stands after the last line end was being written when the daemon was killed: nobody was told that it is kept.
  return lines.slice(0, -1).map((line) => JSON.parse(line) as Change[]);
}
