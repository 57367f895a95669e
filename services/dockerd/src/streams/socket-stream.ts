import { Duplex } from "node:stream";
import type { Socket } from "bun";

/**
 * A connection to a unix socket as a stream. Unlike node's own it keeps what came before anyone reads, the end
 * included: a short-lived process has said everything before its client is ready to listen.
 */
export class SocketStream extends Duplex {
  private socket: Socket | undefined;
  private drained: (() => void) | undefined;
  private ended = false;

  static async connect(socketPath: string): Promise<SocketStream> {
    const stream = new SocketStream({ allowHalfOpen: true });
    const end = () => {
      if (stream.ended) return;
      stream.ended = true;
      stream.push(null);
      stream.drain();
    };
    stream.socket = await Bun.connect({
      unix: socketPath,
      socket: {
        binaryType: "buffer",
        // The chunk is only lent.
        data: (socket, chunk) => {
          if (!stream.push(Buffer.from(chunk))) socket.pause();
        },
        drain: () => stream.drain(),
        end,
        close: end,
        error: end,
      },
    });
    return stream;
  }

  override _read(): void {
    this.socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    const { socket } = this;
    // When nobody is left to take it, it is as good as written.
    const written = socket && !this.ended ? Math.max(0, socket.write(chunk)) : chunk.length;
    if (written >= chunk.length) callback();
    else this.drained = () => this._write(chunk.subarray(written), "", callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.socket?.terminate();
    callback(error);
  }

  private drain(): void {
    const { drained } = this;
    this.drained = undefined;
    drained?.();
  }
}
