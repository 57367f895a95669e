import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** As the original's, milliseconds. */
export const HEAD_TIMEOUT_MS = 5 * 60_000;
/** How many times within a time-out connections are looked at. */
const CHECKS = 5;

/**
 * Ends connections that take too long for the head of a request, so that nobody holds them for
 * ever with nothing or with a byte at a time. The time of bodies, answers and upgraded
 * connections has no limit.
 *
 * Bun's own `headersTimeout` holds on servers that listen only, not on those behind TLS or behind
 * a socket that was inherited.
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
    if (!response) return;
    this.last.set(socket, request);
    response.once("close", () => {
      // Requests that were sent ahead are answered in turn: this was the last of them.
      if (this.last.get(socket) === request && !socket.destroyed) this.waiting.set(socket, performance.now());
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
