import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** How long moby waits for a request's head (ReadHeaderTimeout), milliseconds. */
export const HEAD_TIMEOUT_MS = 5 * 60_000;
/** How many times per time-out the waiting connections are checked. */
const CHECKS = 5;

/**
 * Ends connections on which the head of a request takes too long: a client could otherwise hold
 * them for ever by sending nothing, or a byte at a time. Bodies, answers and upgraded connections
 * have no time limit.
 *
 * Bun applies its own `headersTimeout` only to servers that listen, not to those that are handed
 * connections (TLS, inherited sockets).
 */
export class HeadDeadline implements Disposable {
  /** Connections that wait for a request, and since when. */
  private readonly waiting = new Map<Socket, number>();
  /** The last request that came on a connection. */
  private readonly last = new WeakMap<Socket, IncomingMessage>();
  private readonly timer: NodeJS.Timeout;

  /**
   * @param timeoutMs milliseconds from the connection, or from the end of the last answer, to the
   *   end of the head
   */
  constructor(timeoutMs: number) {
    this.timer = setInterval(() => this.check(timeoutMs), timeoutMs / CHECKS);
    this.timer.unref();
  }

  /** A connection was made. */
  connected(socket: Socket): void {
    this.waiting.set(socket, performance.now());
    socket.once("close", () => this.waiting.delete(socket));
  }

  /**
   * The head of a request is complete.
   * @param response absent: the connection is no longer HTTP's
   */
  received(request: IncomingMessage, response?: ServerResponse): void {
    const { socket } = request;
    this.waiting.delete(socket);
    this.last.set(socket, request);
    if (!response) return;
    response.once("close", () => {
      if (socket.destroyed) return;
      // A client may send several requests ahead; only after the last answer does it owe a head.
      if (this.last.get(socket) === request) this.waiting.set(socket, performance.now());
    });
  }

  private check(timeoutMs: number): void {
    const before = performance.now() - timeoutMs;
    for (const [socket, since] of this.waiting) if (since < before) socket.destroy();
  }

  [Symbol.dispose](): void {
    clearInterval(this.timer);
    this.waiting.clear();
  }
}
