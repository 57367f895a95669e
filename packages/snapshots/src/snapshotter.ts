import type { Change } from "@longshore/store";

export type SnapshotKind = "active" | "view" | "committed";

/** One snapshot as its user sees it. `name` is the key of an active or view snapshot. */
export interface SnapshotInfo {
  readonly name: string;
  /** Empty for a snapshot that stands on nothing. */
  readonly parent: string;
  readonly kind: SnapshotKind;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly labels: Readonly<Record<string, string>>;
}

/** What to mount to see a snapshot, in containerd's form. */
export interface SnapshotMount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export function bindMount(source: string, mode: "ro" | "rw"): SnapshotMount {
  return { type: "bind", source, options: [mode, "rbind"] };
}

/** Disk blocks in bytes, and inodes; a hard-linked file counts once. */
export interface SnapshotUsage {
  readonly sizeBytes: number;
  readonly inodes: number;
}

export interface SnapshotOptions {
  labels?: Readonly<Record<string, string>>;
  /** Further changes to be committed to the store in the same transaction. */
  also?: readonly Change[];
}

/**
 * Filesystem states as a tree: *active* snapshots are written to and become *committed* ones, on which others stand; *views* are
 * read-only. Names are one flat set, chosen by the caller.
 *
 * Errors are EngineErrors with containerd's codes and words: `not_found`, `already_exists`, `invalid_argument` (parent not committed),
 * `failed_precondition` (removing a parent, committing a view).
 */
export interface Snapshotter extends AsyncDisposable {
  readonly name: string;
  /** A writable snapshot on a committed parent, or on nothing (`""`). */
  prepare(key: string, parent: string, options?: SnapshotOptions): Promise<SnapshotMount[]>;
  view(key: string, parent: string, options?: SnapshotOptions): Promise<SnapshotMount[]>;
  /** Freeze an active snapshot under a name; its key is gone then. `parent` may be given for one that has none yet. */
  commit(name: string, key: string, options?: SnapshotOptions & { parent?: string }): Promise<void>;
  mounts(key: string): Promise<SnapshotMount[]>;
  /** The record is gone when this resolves; the files go in the background. */
  remove(key: string, options?: Pick<SnapshotOptions, "also">): Promise<void>;
  stat(key: string): Promise<SnapshotInfo>;
  setLabels(key: string, labels: Readonly<Record<string, string>>): Promise<SnapshotInfo>;
  /** All snapshots whose name starts with `prefix`, by name. */
  list(prefix?: string): Promise<SnapshotInfo[]>;
  usage(key: string): Promise<SnapshotUsage>;
  /** Remove directories that belong to no snapshot, as a crash can leave them; ends when they are gone. */
  cleanup(): Promise<void>;
}
