/** One record: a key and its JSON text. */
export interface Entry {
  readonly key: string;
  readonly value: string;
}

/** One write of a commit. Deleting what is not there is no error; add the condition `present` to make it one. */
export type Change =
  | { readonly op: "put"; readonly bucket: string; readonly key: string; readonly value: string }
  | { readonly op: "delete"; readonly bucket: string; readonly key: string };

/** What must hold for a commit to happen; checked in order, before any change. */
export type Condition =
  | { readonly is: "absent"; readonly bucket: string; readonly key: string }
  | { readonly is: "present"; readonly bucket: string; readonly key: string }
  | { readonly is: "equals"; readonly bucket: string; readonly key: string; readonly value: string };

export interface CommitOptions {
  /**
   * What the changes must outlive: the machine, or only this process, which costs no wait for the disk. The latter is for what is of no
   * use after a restart of the machine, or is then done again.
   */
  readonly outlive?: "machine" | "process";
  /**
   * What to do while the store's server can't be reached: `refuse` (when left out) throws `unavailable`; `keep` holds the changes on this
   * machine's disk until it is back, for what has happened and can't be refused. Such changes have no conditions.
   */
  readonly whenAway?: "refuse" | "keep";
}

/**
 * A durable map of (bucket, key) to JSON text. Keys sort by their UTF-8 bytes. Any number of processes may share a
 * Redis store; an SQLite store belongs to one daemon.
 */
export interface Store extends AsyncDisposable {
  get(bucket: string, key: string): Promise<string | undefined>;
  /** All records of a bucket whose key starts with `prefix`, by key. */
  list(bucket: string, prefix?: string): Promise<Entry[]>;
  /**
   * Make all changes or none; they are on disk when this resolves (with Redis: as durable as the server is set up to be), or,
   * as the options may say, with the kernel. Commits are kept or lost in order: what one keeps, those before it keep.
   *
   * @throws EngineError `already_exists` where `absent` does not hold, `not_found` for `present`, `aborted` for `equals`
   */
  commit(
    changes: readonly Change[],
    conditions?: readonly Condition[],
    options?: CommitOptions,
  ): Promise<void>;
  /** Whether a commit would find the store's server. @throws EngineError `unavailable` */
  check(): Promise<void>;
}
