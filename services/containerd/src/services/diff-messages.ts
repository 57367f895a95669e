import type { Digest } from "@longshore/digest";
import type { ErrorCode } from "@longshore/errors";

/** A mount as containerd describes it. */
export interface MountMessage {
  readonly type: string;
  readonly source: string;
  readonly target?: string;
  readonly options: readonly string[];
}

/** What the daemon asks of its diff worker; one line of JSON each, answered in order. */
export interface ApplyJob {
  readonly job: "apply";
  /** The layer's blob. */
  readonly file: string;
  readonly compression: "none" | "gzip" | "zstd" | "detect";
  readonly mounts: readonly MountMessage[];
  /** Have everything on disk before answering. */
  readonly sync: boolean;
}

export type DiffJob = ApplyJob;

/** Of the uncompressed tar. */
export interface AppliedLayer {
  readonly digest: Digest;
  readonly size: number;
}

export type DiffAnswer =
  | { readonly result: AppliedLayer }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };
