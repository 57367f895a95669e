import fs from "node:fs";

/** What a thread has done with its time, milliseconds. */
export interface ThreadTimes {
  computing: number;
  /** It could have gone on, but had no processor. */
  starved: number;
}

const LINE_BYTES = 64;

/**
 * Read the times of this process's first thread, which is the event loop's.
 * @see proc_pid_schedstat(5): nanoseconds on a processor, nanoseconds in the run queue, turns
 */
export class OwnThreadTimes implements Disposable {
  private readonly fd: number | undefined;
  private readonly line = Buffer.alloc(LINE_BYTES);

  /** Kernels that keep no such times have no such file. */
  constructor(file = `/proc/self/task/${process.pid}/schedstat`) {
    try {
      this.fd = fs.openSync(file, "r");
    } catch {
      this.fd = undefined;
    }
  }

  /** Undefined where the kernel does not tell. */
  read(): ThreadTimes | undefined {
    if (this.fd === undefined) return undefined;
    const length = fs.readSync(this.fd, this.line, 0, LINE_BYTES, 0);
    const [computing, starved] = this.line.toString("latin1", 0, length).split(" ").map(Number);
    return { computing: (computing ?? 0) / 1e6, starved: (starved ?? 0) / 1e6 };
  }

  [Symbol.dispose](): void {
    if (this.fd !== undefined) fs.closeSync(this.fd);
  }
}
