import type { Duplex, Readable, Writable } from "node:stream";
import { encodeFrame, STDERR, STDIN, STDOUT, StdioFrameDecoder } from "@longshore/stdio";
import { DetachScanner } from "./detach-keys.ts";

export interface AttachOptions {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** The process has a terminal: what is typed may be the detach keys, and its end is none of the input. */
  terminal: boolean;
  /** Send the output as it is; else in frames that say which stream it is of. */
  bare: boolean;
  /** Whether the end of the client's input closes the process's stdin. */
  closeStdin: boolean;
  /** Typed by the client of a terminal, they end the attachment. */
  detachKeys: Buffer;
}

/** How an attachment ended. */
export type AttachEnd = "ended" | "detached" | "inputEnded" | "gone";

/**
 * Carry bytes between a client and a process until the process's output ends, the client goes away or detaches. Each
 * direction waits for its reader, so nothing piles up here. Both connections are closed when this resolves, the client's
 * after all output is handed to it.
 */
export async function attach(
  process: Duplex,
  client: { input: Readable; output: Writable },
  options: AttachOptions,
  beforeClose: () => Promise<void> | void = () => {},
): Promise<AttachEnd> {
  const end = await new Promise<AttachEnd>((resolve) => {
    pumpOutput(process, client.output, options);
    process.once("end", () => resolve("ended"));
    process.once("close", () => resolve("ended"));
    process.on("error", () => resolve("ended"));
    client.output.once("close", () => resolve("gone"));
    // It may have closed while the process was being connected to; `close` is not emitted again.
    if (client.output.destroyed) resolve("gone");
    if (options.stdin) pumpInput(client.input, process, options, resolve);
    else client.input.resume(); // so that its end is noticed
  });
  process.destroy();
  if (end === "ended") await beforeClose();
  if (end !== "gone") client.output.end();
  return end;
}

function pumpOutput(process: Duplex, output: Writable, options: AttachOptions): void {
  const { stdout, stderr, bare } = options;
  const write = (bytes: Uint8Array) => {
    if (!output.write(bytes)) process.pause();
  };
  output.on("drain", () => process.resume());
  if (!bare && stdout && stderr) {
    process.on("data", write); // the same framing on both sides
    return;
  }
  const wanted = (stream: number) => (stream === STDOUT && stdout) || (stream === STDERR && stderr);
  const decoder = new StdioFrameDecoder({
    data(stream, piece) {
      if (wanted(stream)) write(bare ? piece : encodeFrame(stream, piece));
    },
    empty() {},
  });
  process.on("data", (chunk: Buffer) => decoder.push(chunk));
}

function pumpInput(
  input: Readable,
  process: Duplex,
  options: AttachOptions,
  end: (how: AttachEnd) => void,
): void {
  const scanner = new DetachScanner(options.terminal ? options.detachKeys : Buffer.alloc(0));
  input.on("data", (chunk: Buffer) => {
    const { output, detached } = scanner.push(chunk);
    if (output.length > 0 && !process.write(encodeFrame(STDIN, output))) input.pause();
    if (detached) end("detached");
  });
  process.on("drain", () => input.resume());
  input.resume(); // it was paused when its request's body was read from it
  input.once("end", () => {
    // What the process's input outlives has no more use for its output either: so Docker sees it.
    if (options.closeStdin && !options.terminal) process.write(encodeFrame(STDIN, Buffer.alloc(0)));
    else end("inputEnded");
  });
}
