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

/**
 * What the daemon asks of an unpacking worker; one line of JSON each, answered in order. The descriptors come beforehand, on the worker's
 * socket: the layer's blob, the directory to unpack to, the lower directories of an overlay.
 */
export interface UnpackJob {
  /** How many descriptors belong to it. */
  readonly descriptors: number;
  readonly compression: "none" | "gzip" | "zstd" | "detect";
  /** A plain directory, or the upper one of an overlay, whose lower ones may not be there yet (`upper-apart`). */
  readonly into: "directory" | "upper" | "upper-apart";
  /** Have everything on disk before answering. */
  readonly sync: boolean;
  readonly limits: SizeLimits;
  /** Say now and then how far it has come. */
  readonly progress: boolean;
}

/** What the daemon asks of a diff worker. */
export interface CreateJob {
  readonly lower: readonly MountMessage[];
  readonly upper: readonly MountMessage[];
  readonly compression: "none" | "gzip" | "zstd";
  /** Existing empty file that the layer is written to. */
  readonly output: string;
  /** No entry is younger: seconds since 1970. */
  readonly notAfterSeconds?: number;
}

/** Of the uncompressed tar, in both directions. */
export interface LayerResult {
  readonly digest: Digest;
  readonly size: number;
}

/** What a worker writes; the first two are the last line of a job. */
export type DiffAnswer =
  | { readonly result: LayerResult }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } }
  /** Bytes of the layer's blob that have been read. */
  | { readonly offset: number };
