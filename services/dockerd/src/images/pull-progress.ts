import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import {
  type BlobProgress,
  BlobProgress_State as State,
} from "@longshore/api/longshore/registry/v1/registry";
import type { LayerState } from "./unpack.ts";

/** One line of Docker's progress stream. */
export interface ProgressLine {
  /** Text for the terminal as it is. */
  stream?: string;
  status?: string;
  id?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number };
  /** For programs. */
  aux?: object;
  errorDetail?: { message: string };
  error?: string;
}

/** Turns the states of an image's blobs into Docker's words, leaving out what says nothing new. */
export class PullProgress {
  private readonly layers: Map<string, string>;
  private readonly shown = new Map<string, string>();
  private readonly isKnown: boolean;

  /** @param isKnown the image was pulled before: its layers are worth no word unless one is missing */
  constructor(layers: readonly Descriptor[], isKnown: boolean) {
    this.isKnown = isKnown;
    this.layers = new Map(layers.map(({ digest }) => [digest, shortDigest(digest)]));
  }

  start(): ProgressLine[] {
    if (this.isKnown) return [];
    return [...this.layers.values()].map((id) => ({ status: "Pulling fs layer", progressDetail: {}, id }));
  }

  blob({ digest, state, offset, total }: BlobProgress): ProgressLine[] {
    const id = this.layers.get(digest);
    if (id === undefined) return []; // the manifest or the config
    switch (state) {
      case State.PENDING:
        return this.isKnown ? [] : this.once(id, "Waiting");
      case State.DOWNLOADING: {
        const detail = { current: Number(offset), total: Number(total) };
        this.shown.set(id, "Downloading");
        return [{ status: "Downloading", progressDetail: detail, progress: progressBar(detail), id }];
      }
      case State.VERIFYING:
        return this.once(id, "Verifying Checksum");
      case State.COMPLETE:
        return this.once(id, "Download complete");
      case State.EXISTS:
        return [];
    }
  }

  layer(
    digest: string,
    state: LayerState,
    { offset, total }: { offset: number; total: number },
  ): ProgressLine[] {
    const id = this.layers.get(digest) ?? shortDigest(digest);
    if (state === "exists") return this.isKnown ? [] : this.once(id, "Already exists");
    if (state === "complete") return this.once(id, "Pull complete");
    const detail = { current: Math.min(offset, total), total };
    return [{ status: "Extracting", progressDetail: detail, progress: progressBar(detail), id }];
  }

  private once(id: string, status: string): ProgressLine[] {
    if (this.shown.get(id) === status) return [];
    this.shown.set(id, status);
    return [{ status, progressDetail: {}, id }];
  }
}

export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1).slice(0, 12);
}

/** Docker's bar of 50 places: `[=====>      ]  1.05MB/4.2MB`. */
export function progressBar({ current, total }: { current: number; total: number }): string {
  if (total <= 0) return `${humanBytes(current).padStart(8)}`;
  const filled = Math.min(50, Math.floor((current / total) * 50));
  const bar = filled >= 50 ? `${"=".repeat(50)}>` : `${"=".repeat(filled)}>${" ".repeat(50 - filled)}`;
  return `[${bar}] ${humanBytes(current).padStart(8)}/${humanBytes(total)}`;
}

/** Decimal units and four significant digits, as Docker prints sizes. */
export function humanBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}
