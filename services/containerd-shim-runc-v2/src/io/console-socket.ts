import { EngineError } from "@longshore/errors";
import {
  AF_UNIX,
  accept,
  bindUnix,
  close,
  listen,
  randomHex,
  receiveFds,
  SOCK_STREAM,
  socket,
  unlink,
  waitReadable,
} from "@longshore/syscalls";

/** How long runc may leave the terminal unsent after it has said that the process is there. */
const PATIENCE_MS = 2000;

/** The unix socket at which runc hands over the terminal of a process. */
export class ConsoleSocket {
  readonly path: string;
  #fd: number;

  constructor(directory: string) {
    this.path = `${directory}/pty-${randomHex(4)}`;
    this.#fd = socket(AF_UNIX, SOCK_STREAM);
    try {
      bindUnix(this.#fd, this.path);
      listen(this.#fd, 1);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * The master's descriptor, and the end of this socket. Called when runc has ended: the terminal was sent before, and waits.
   *
   * @throws EngineError `internal` when it wasn't
   */
  receive(): number {
    try {
      if (!waitReadable(this.#fd, PATIENCE_MS))
        throw new EngineError("internal", "the runtime sent no terminal");
      const peer = accept(this.#fd);
      if (peer === undefined) throw new EngineError("internal", "the runtime sent no terminal");
      try {
        const [master, ...others] = waitReadable(peer, PATIENCE_MS) ? (receiveFds(peer)?.fds ?? []) : [];
        for (const other of others) close(other);
        if (master === undefined) throw new EngineError("internal", "the runtime sent no terminal");
        return master;
      } finally {
        close(peer);
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    close(this.#fd);
    this.#fd = -1;
    try {
      unlink(this.path);
    } catch {
      // never bound
    }
  }
}
