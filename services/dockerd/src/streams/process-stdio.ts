import type { Duplex } from "node:stream";

/** The stdio of one container or exec process: what containerd is told, and how clients get at it. */
export interface ProcessStdio extends AsyncDisposable {
  readonly kind: "longshore" | "fifo";
  /** For the containerd request. */
  readonly uris: { stdin: string; stdout: string; stderr: string };
  /**
   * A connection that carries frames both ways: the process's output from now on until its end, and stdin
   * towards it (an empty stdin frame closes the process's stdin).
   * @throws EngineError `not_found` when the process's output has ended
   */
  connect(): Promise<Duplex>;
  /** To be called when the process runs: the end of its input, should it have come before, is passed on then. */
  started(): void;
}
