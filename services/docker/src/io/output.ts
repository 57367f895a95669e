import fs from "node:fs";

/** Exit code of a process whose reader has gone, as the shell shows it. */
const SIGPIPE_STATUS = 141;

/**
 * Write all of it to a descriptor. Blocking: what the reader does not take holds the sender up, all the way to the engine.
 * (process.stdout would cost 11 ms of start-up.)
 */
export function writeAll(fd: number, data: Uint8Array | string): void {
  let rest: Uint8Array = typeof data === "string" ? Buffer.from(data) : data;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : "";
      if (code === "EPIPE") process.exit(SIGPIPE_STATUS);
      // Somebody made the pipe or terminal that we share with him non-blocking.
      if (code !== "EAGAIN") throw error;
      Bun.sleepSync(1);
    }
  }
}

export function print(line: string): void {
  writeAll(1, `${line}\n`);
}

export function printError(line: string): void {
  writeAll(2, `${line}\n`);
}
