import type { SizeLimits } from "@longshore/archive";
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
  readonly limits: SizeLimits;
  /** Say now and then how far it has come. */
  readonly progress: boolean;
}

export interface CreateJob {
  readonly job: "create";
  readonly lower: readonly MountMessage[];
  readonly upper: readonly MountMessage[];
  readonly compression: "none" | "gzip" | "zstd";
  /** Existing empty file that the layer is written to. */
  readonly output: string;
  /** No entry is younger: seconds since 1970. */
  readonly notAfterSeconds?: number;
}

export type DiffJob = ApplyJob | CreateJob;

/** Of the uncompressed tar, in both directions. */
export interface LayerResult {
  readonly digest: Digest;
  readonly size: number;
}

/** What the worker writes; the first two are the last line of a job. */
export type DiffAnswer =
  | { readonly result: LayerResult }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } }
  /** Bytes of the layer's blob that have been read. */
  | { readonly offset: number };
