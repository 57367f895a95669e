import type { Hijacked } from "../engine/client.ts";
import { FrameSplitter } from "../engine/frames.ts";
import { DEFAULT_DETACH_KEYS, DetachWatch, parseDetachKeys } from "./detach-keys.ts";
import { writeAll } from "./output.ts";
import { RawTerminal } from "./terminal.ts";

export interface SessionOptions {
  /** Send our stdin; otherwise the container's is closed at once. */
  stdin: boolean;
  /** The container has a terminal. */
  tty: boolean;
  /** Empty means ctrl-p, ctrl-q. */
  detachKeys: string;
}

/** How a session ended: the output did, or the user typed the keys that detach. */
export type SessionEnd = "closed" | "detached";

/**
 * Connect our stdin, stdout and stderr with a container's, until its output ends. The end of our stdin closes the container's and
 * leaves its output open.
 */
export async function runSession(hijacked: Hijacked, options: SessionOptions): Promise<SessionEnd> {
  const { connection } = hijacked;
  using raw = options.stdin && options.tty ? new RawTerminal() : undefined;
  const detached = Promise.withResolvers<SessionEnd>();
  if (raw) {
    const watch = new DetachWatch(
      options.detachKeys ? parseDetachKeys(options.detachKeys) : DEFAULT_DETACH_KEYS,
    );
    raw.onInput(
      (data) => {
        const { send, detached: done } = watch.push(data);
        if (done) detached.resolve("detached");
        void connection.write(send);
      },
      () => connection.closeWrite(),
    );
  } else if (options.stdin) {
    void sendStdin(hijacked);
  } else {
    connection.closeWrite();
  }
  const end = await Promise.race([showOutput(hijacked.output, options.tty), detached.promise]);
  connection.close();
  return end;
}

async function sendStdin({ connection }: Hijacked): Promise<void> {
  try {
    for await (const data of Bun.stdin.stream()) await connection.write(data);
  } catch {
    // A stdin that can't be read (closed, a directory) is an empty one.
  }
  connection.closeWrite();
}

/** Show the output of a container on our stdout and stderr to its end. */
export async function showOutput(output: AsyncIterable<Buffer>, tty: boolean): Promise<SessionEnd> {
  // Engines below API 1.42 don't tell by the content type whether they send frames: a terminal's output never has any.
  const frames = tty ? undefined : new FrameSplitter(writeAll);
  for await (const data of output) {
    if (frames) frames.push(data);
    else writeAll(1, data);
  }
  return "closed";
}
