import { isErrno } from "@longshore/errors";
import {
  close,
  dup3,
  F_DUPFD_CLOEXEC,
  F_GETFL,
  F_SETFL,
  fcntl,
  fixedBuffer,
  isTerminal,
  kill,
  O_NONBLOCK,
  type Poll,
  pipe,
  poll,
  read,
  SignalPipe,
  WNOHANG,
  waitPid,
  writeSome,
} from "@longshore/syscalls";
import { HostTerminal } from "./host-terminal.ts";

const SIGCHLD = 17;
const SIGWINCH = 28;

// Poll reports room for this much at least in a pipe, so that a write of no more never waits.
const CHUNK = 4096;

/** Bytes on their way from one descriptor to another. */
export class Relay {
  readonly from: number;
  readonly to: number;
  readonly #closeAtEnd: boolean;
  readonly #chunk = fixedBuffer(CHUNK);
  #start = 0;
  #end = 0;
  done = false;

  /** @param closeAtEnd whether the one at the other end is told that nothing more comes */
  constructor(from: number, to: number, { closeAtEnd }: { closeAtEnd: boolean }) {
    this.from = from;
    this.to = to;
    this.#closeAtEnd = closeAtEnd;
  }

  /** What has to happen before it goes on. */
  get waitsFor(): Poll {
    return this.#start < this.#end ? { fd: this.to, events: 4 } : { fd: this.from, events: 1 };
  }

  /** Go on: one write if there is something to write, otherwise one read and a write. */
  step(): void {
    try {
      if (this.#start === this.#end) {
        this.#start = 0;
        this.#end = read(this.from, this.#chunk);
        if (this.#end === 0) this.finish();
        // Whether it can be written at once, poll says.
        return;
      }
      this.#start += writeSome(this.to, this.#chunk, this.#start, this.#end);
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return;
      // EIO: a terminal whose other end is closed, or a caller's terminal that is gone.
      if (!isErrno(error, "EIO", "EPIPE", "ENXIO")) throw error;
      this.finish();
    }
  }

  finish(): void {
    if (this.done) return;
    this.done = true;
    if (this.#closeAtEnd) close(this.to);
  }
}

/**
 * The caller of `run` or `exec` that stays until the process has ended: signals, and with a terminal of one of the two the bytes, go
 * through us. The caller's terminal is put back when this is disposed of.
 */
export class Attachment implements Disposable {
  #signals: SignalPipe | undefined;
  readonly #input: Relay[] = [];
  readonly #output: Relay[] = [];
  #terminal: HostTerminal | undefined;
  /** Our own streams, while pipes for the process are in their place. */
  readonly #replaced = new Map<number, number>();

  /**
   * To be called before the process is made: signals that come from then on are kept for it.
   *
   * @param terminal whether it gets one of its own
   */
  prepare(terminal: boolean): void {
    // Not those that can't be caught, the engine's own, job control of ourselves, SIGPIPE and SIGURG.
    const kept = [4, 5, 6, 7, 8, 9, 11, 13, 19, 21, 22, 23, 25, 30, 31, 32, 33];
    const signals: number[] = [];
    for (let signal = 1; signal <= 64; signal++) if (!kept.includes(signal)) signals.push(signal);
    this.#signals = new SignalPipe(signals);
    if (terminal) {
      this.#terminal = new HostTerminal();
      return;
    }
    // The caller's terminal itself is not given to the process: it could type into it (TIOCSTI).
    for (const fd of [0, 1, 2]) if (isTerminal(fd)) this.#replace(fd);
  }

  #replace(fd: number): void {
    const [readEnd, writeEnd] = pipe();
    const own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    this.#replaced.set(fd, own);
    dup3(fd === 0 ? readEnd : writeEnd, fd);
    close(fd === 0 ? readEnd : writeEnd);
    if (fd === 0) this.#input.push(new Relay(own, writeEnd, { closeAtEnd: true }));
    else this.#output.push(new Relay(readEnd, own, { closeAtEnd: false }));
  }

  /** Serve the process's terminal, before anything runs in it. */
  serve(master: number): void {
    if (!this.#terminal) return;
    fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK);
    this.#input.push(new Relay(0, master, { closeAtEnd: false }));
    this.#output.push(new Relay(master, 1, { closeAtEnd: false }));
    this.#terminal.attach(master);
    this.#terminal.resize();
  }

  /** The process has its streams: ours are what they were. */
  started(): void {
    for (const [fd, own] of this.#replaced) dup3(own, fd);
  }

  /**
   * Wait for a child of ours while bytes and signals are passed on to it.
   *
   * @returns its exit status
   */
  wait(pid: number): number {
    const signals = this.#signals;
    if (!signals) throw new Error("not prepared");
    this.#terminal?.resize();
    for (;;) {
      for (let signal = signals.next(); signal !== undefined; signal = signals.next()) {
        if (signal === SIGCHLD) continue;
        if (signal === SIGWINCH) this.#terminal?.resize();
        else forward(pid, signal);
      }
      const status = reap(pid);
      if (status !== undefined) {
        drain(this.#output);
        return status;
      }
      const active = [...this.#input, ...this.#output].filter(({ done }) => !done);
      const ready = poll([{ fd: signals.fd, events: 1 }, ...active.map(({ waitsFor }) => waitsFor)], -1);
      for (let index = 0; index < active.length; index++) {
        const state = ready[index + 1];
        if (state && (state.readable || state.writable || state.ended)) active[index]?.step();
      }
    }
  }

  [Symbol.dispose](): void {
    for (const [fd, own] of this.#replaced) {
      dup3(own, fd);
      close(own);
    }
    this.#replaced.clear();
    this.#terminal?.[Symbol.dispose]();
    this.#signals?.[Symbol.dispose]();
  }
}

function forward(pid: number, signal: number): void {
  try {
    kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
}

/** Reap whoever has ended, also what was left to us as a subreaper; the status of the one that counts. */
function reap(pid: number): number | undefined {
  let status: number | undefined;
  for (;;) {
    try {
      const exit = waitPid(-1, WNOHANG);
      if (!exit) return status;
      if (exit.pid === pid) status = exit.status;
    } catch (error) {
      if (isErrno(error, "ECHILD")) return status;
      throw error;
    }
  }
}

const DRAIN_LIMIT = 4 << 20;

/** What the process wrote before it ended; not what others go on to write. */
function drain(relays: readonly Relay[]): void {
  for (const relay of relays) {
    for (let bytes = 0; !relay.done && bytes < DRAIN_LIMIT; bytes += CHUNK) {
      const { fd, events } = relay.waitsFor;
      const [state] = poll([{ fd, events }], events === 1 ? 0 : -1);
      if (!state || !(state.readable || state.writable || state.ended)) break;
      relay.step();
    }
  }
}
