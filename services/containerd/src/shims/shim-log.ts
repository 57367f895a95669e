import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";

/** A line longer than this is passed on in pieces. */
const MAX_LINE_BYTES = 16 * 1024;

/**
 * Pass on what a shim writes to its log FIFO. It is opened for reading and writing, so that a shim can open it whenever it wants, and
 * again after it was closed.
 * @returns ends the reading when it is disposed of
 */
export function followShimLog(fifo: string, log: Logger): Disposable {
  const fd = openFifo(fifo);
  if (fd === undefined) return { [Symbol.dispose]() {} };
  const reader = Bun.file(fd).stream().getReader();
  void copyLines(reader, log);
  let open = true;
  return {
    [Symbol.dispose]() {
      if (!open) return;
      open = false;
      void reader.cancel().finally(() => closeOnce(fd));
    },
  };
}

/** What is used of a stream's reader; Bun's and node's types of it differ. */
interface LineSource {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
}

async function copyLines(reader: LineSource, log: Logger): Promise<void> {
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !value) return;
      const lines = (rest + Buffer.from(value).toString()).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE_BYTES) lines.push(rest.slice(0, MAX_LINE_BYTES));
      if (rest.length > MAX_LINE_BYTES) rest = "";
      for (const line of lines) if (line !== "") logLine(line, log);
    }
  } catch (error) {
    log.debug({ err: error }, "shim log ended");
  }
}

/** Go shims write logfmt; its level decides ours. */
function logLine(line: string, log: Logger): void {
  const level = /\blevel=(\w+)/.exec(line)?.[1];
  if (level === "error" || level === "fatal" || level === "panic") log.error({ line }, "shim");
  else if (level === "debug" || level === "trace") log.debug({ line }, "shim");
  else log.info({ line }, "shim");
}

function openFifo(fifo: string): number | undefined {
  try {
    if (!fs.lstatSync(fifo).isFIFO()) return undefined;
    return fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function closeOnce(fd: number): void {
  try {
    fs.closeSync(fd);
  } catch (error) {
    if (!isErrno(error, "EBADF")) throw error; // the stream closed it
  }
}
