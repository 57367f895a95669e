import type { Transfers as Limits } from "@longshore/api/longshore/registry/v1/registry";
import { Semaphore } from "./semaphore.ts";

/** How blobs are fetched, where a caller says so. */
export interface DownloadLimits {
  /** Undefined: as usual. */
  readonly slots: Semaphore | undefined;
  /** For one blob, in all. */
  readonly attempts: number | undefined;
}

/** What callers have for their transfers in common: those with the same limit share it. */
export class Transfers {
  readonly #downloads = new Map<number, Semaphore>();
  readonly #uploads = new Map<number, Semaphore>();

  downloads(limits: Limits | undefined): DownloadLimits {
    const { maxDownloads = 0, maxAttempts = 0 } = limits ?? {};
    return { slots: shared(this.#downloads, maxDownloads), attempts: maxAttempts || undefined };
  }

  /** Undefined: as usual. */
  uploads(limits: Limits | undefined): Semaphore | undefined {
    return shared(this.#uploads, limits?.maxUploads ?? 0);
  }
}

function shared(all: Map<number, Semaphore>, limit: number): Semaphore | undefined {
  if (limit === 0) return undefined;
  const known = all.get(limit) ?? new Semaphore(limit);
  all.set(limit, known);
  return known;
}
