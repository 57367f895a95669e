import { EngineError } from "@longshore/errors";
import { encodeFrame, STDIN, StdioFrameDecoder } from "./frame.ts";

export interface StdioClientHandlers {
  /** Output as it arrives, 1 stdout (or the terminal), 2 stderr; the bytes may be used until the call returns. */
  data(stream: number, bytes: Uint8Array): void;
  /** All output was sent, or the connection ended otherwise. Called once. */
  end(): void;
}

/** A connection to the stdio of a running process. */
export interface StdioClient {
  /** Send input; resolves when the socket has taken it, so that a process that doesn't read holds its writer back. */
  write(bytes: Uint8Array): Promise<void>;
  /** Close the process's stdin; output goes on. */
  closeStdin(): Promise<void>;
  /** Stop and go on with reading, for a consumer that can't keep up. */
  pause(): void;
  resume(): void;
  close(): void;
}

/**
 * Attach at a stdio socket of the shim.
 *
 * @throws EngineError `not_found` when nothing listens there (any more)
 */
export async function connectStdio(socketPath: string, handlers: StdioClientHandlers): Promise<StdioClient> {
  const decoder = new StdioFrameDecoder({
    data: (stream, piece) => handlers.data(stream, piece),
    empty() {},
  });
  let ended = false;
  let drained = Promise.withResolvers<void>();
  const end = () => {
    if (ended) return;
    ended = true;
    drained.resolve();
    handlers.end();
  };
  const socket = await Bun.connect<undefined>({
    unix: socketPath,
    socket: {
      binaryType: "buffer",
      data: (_, chunk) => decoder.push(chunk),
      drain() {
        drained.resolve();
        drained = Promise.withResolvers();
      },
      close: end,
      end,
      error: end,
    },
  }).catch((cause: unknown) => {
    throw new EngineError("not_found", `no process serves its stdio at ${socketPath}`, { cause });
  });

  let turn: Promise<void> = Promise.resolve();
  const send = (stream: number, bytes: Uint8Array) => {
    turn = turn.then(async () => {
      let rest: Uint8Array = encodeFrame(stream, bytes);
      while (rest.length > 0 && !ended) {
        const { promise } = drained;
        rest = rest.subarray(Math.max(0, socket.write(rest)));
        if (rest.length > 0) await promise;
      }
    });
    return turn;
  };
  return {
    write: (bytes) => (bytes.length > 0 ? send(STDIN, bytes) : turn),
    closeStdin: () => send(STDIN, new Uint8Array(0)),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close() {
      socket.terminate();
      end();
    },
  };
}
