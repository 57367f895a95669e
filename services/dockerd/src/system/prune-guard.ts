import { EngineError } from "@longshore/errors";

/** What one prune at a time is done of; as with Docker's, those of containers and of networks count as one. */
export type PruneKind = "containers" | "images" | "networks" | "volumes";

/** Keeps two prunes of a kind from doing the same at once. */
export class PruneGuard {
  private readonly running = new Set<PruneKind>();

  /** @throws EngineError `conflict`, in Docker's words, while another goes on */
  async run<T>(kind: PruneKind, prune: () => Promise<T>): Promise<T> {
    const turn = kind === "networks" ? "containers" : kind;
    if (this.running.has(turn)) throw new EngineError("conflict", "a prune operation is already running");
    this.running.add(turn);
    try {
      return await prune();
    } finally {
      this.running.delete(turn);
    }
  }
}
