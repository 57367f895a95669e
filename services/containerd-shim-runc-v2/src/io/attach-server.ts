import { isErrno } from "@longshore/errors";
import {
  encodeFrame,
  frameHeader,
  type STDERR,
  STDIN,
  type STDOUT,
  StdioFrameDecoder,
} from "@longshore/stdio";
import { chmod, mkdirAll, unlink } from "@longshore/syscalls";
import { spool } from "../load.ts";
import { dirname } from "../paths.ts";
import type { Sink } from "./sink.ts";
import type { Spool } from "./spool.ts";

/** How much a client may lag behind, on disk, before the process is made to wait for it. */
const LAG_BYTES = 256 << 20;
/** How long the process, and later this one, waits for a client that takes nothing at all. */
const STALL_MS = 10_000;

/** Frames up to here go out in one piece: some clients take what arrives first for a whole one. */
const JOINED_BYTES = 16_384;

/** Clients that still have to get what a process has left; they keep this one alive. */
const behind = new Set<AttachClient>();
let caughtUp: (() => void) | undefined;
let connected = 0;

/** Whether anybody is attached to any process. */
export function hasClients(): boolean {
  return connected > 0;
}

/** Resolves when all clients have what is theirs, or take nothing any more. */
export function clientsServed(): Promise<void> {
  return new Promise((resolve) => {
    if (behind.size === 0) resolve();
    else caughtUp = resolve;
  });
}

export interface AttachOptions {
  socketPath: string;
  /** Where lagging clients' output is kept, in files without a name. */
  spoolDirectory: string;
  /** A client's input; false: no more for now, `resumeInput` will tell. Undefined: the process has no stdin. */
  onInput?: ((bytes: Uint8Array) => boolean) | undefined;
  onInputEnd?: () => void;
  /** Output may flow again. */
  onRoom: () => void;
}

type Socket = Bun.Socket<AttachClient>;
/** Its types don't say that it has a descriptor, and can be made from one. */
type Listener = { stop(close?: boolean): void; readonly fd: number };

/** Lets any number of clients see a process's output, from when they connect, and write to its stdin. */
export class AttachServer {
  readonly #options: AttachOptions;
  readonly #clients = new Set<AttachClient>();
  readonly #listener: Listener;
  #closed = false;

  /** @param listener descriptor of the socket at `options.socketPath`, if it listens already */
  constructor(options: AttachOptions, listener?: number) {
    this.#options = options;
    const isNew = listener === undefined;
    if (isNew) {
      mkdirAll(dirname(options.socketPath), 0o700);
      remove(options.socketPath);
    }
    const where = isNew ? { unix: options.socketPath } : { fd: listener };
    this.#listener = Bun.listen<AttachClient>({
      ...(where as { unix: string }),
      socket: {
        binaryType: "buffer",
        open: (socket) => {
          socket.data = new AttachClient(socket, options);
          connected++;
          this.#clients.add(socket.data);
        },
        data: (socket, chunk) => socket.data.received(chunk),
        drain: (socket) => socket.data.drained(),
        close: (socket) => this.#gone(socket.data),
        error: (socket) => this.#gone(socket.data),
      },
    }) as unknown as Listener;
    if (isNew) chmod(options.socketPath, 0o600);
  }

  /** What another program needs to go on with this: the listening socket; undefined while somebody is attached, or it has ended. */
  get suspended(): number | undefined {
    return this.#clients.size === 0 && !this.#closed ? this.#listener.fd : undefined;
  }

  /** One of the process's streams; both must end for the connections to. */
  sink(stream: typeof STDOUT | typeof STDERR): Sink {
    return {
      write: (bytes) => this.#send(stream, bytes),
      end() {},
      close() {},
    };
  }

  /** The process takes input again. */
  resumeInput(): void {
    for (const client of this.#clients) client.resumeInput();
  }

  /** All output was sent: end each connection when its client has it, and take no new ones. */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.stop(false);
    remove(this.#options.socketPath);
    for (const client of this.#clients) client.end();
  }

  /** No more will come. Clients that lag get the rest, for as long as they take some of it. */
  close(): void {
    this.end();
    for (const client of this.#clients) client.hurry();
  }

  #send(stream: number, bytes: Uint8Array): boolean {
    let room = true;
    for (const client of this.#clients) room = client.send(stream, bytes) && room;
    return room;
  }

  #gone(client: AttachClient | undefined): void {
    if (!client) return;
    if (!client.isGone) connected--;
    client.isGone = true;
    this.#clients.delete(client);
    client.closed();
    this.#options.onRoom();
  }
}

/** One attached client: what its socket doesn't take goes to a spool, so that it never holds up the log or another client. */
class AttachClient {
  readonly #socket: Socket;
  readonly #options: AttachOptions;
  readonly #decoder: StdioFrameDecoder;
  #spool: Spool | undefined;
  #stall: Timer | undefined;
  isGone = false;
  #ending = false;
  #inputPaused = false;

  constructor(socket: Socket, options: AttachOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#decoder = new StdioFrameDecoder({
      data: (stream, piece) => {
        if (stream !== STDIN || !options.onInput || options.onInput(piece)) return;
        this.#inputPaused = true;
        socket.pause();
      },
      empty: (stream) => {
        if (stream === STDIN) options.onInputEnd?.();
      },
    });
  }

  received(chunk: Uint8Array): void {
    this.#decoder.push(chunk);
  }

  resumeInput(): void {
    if (!this.#inputPaused) return;
    this.#inputPaused = false;
    this.#socket.resume();
  }

  /** False when the client lags too far behind and is still taking bytes: its process should wait. */
  send(stream: number, bytes: Uint8Array): boolean {
    if (bytes.length <= JOINED_BYTES) {
      this.#write(encodeFrame(stream, bytes));
    } else {
      this.#write(frameHeader(stream, bytes.length));
      this.#write(bytes);
    }
    if (!this.#spool || this.#spool.bytes < LAG_BYTES) return true;
    this.#stall ??= setTimeout(() => this.drop(), STALL_MS);
    return false;
  }

  drained(): void {
    this.#progress();
    const spool = this.#spool;
    if (!spool) return;
    for (let bytes = spool.peek(); bytes.length > 0; bytes = spool.peek()) {
      const written = this.#socket.write(bytes);
      if (written <= 0) break;
      spool.take(written);
      if (written < bytes.length) break;
    }
    if (spool.bytes < LAG_BYTES) this.#options.onRoom();
    if (spool.bytes > 0) return;
    spool.close();
    this.#spool = undefined;
    if (behind.has(this)) this.drop();
    else if (this.#ending) this.#socket.end();
  }

  end(): void {
    this.#ending = true;
    if (!this.#spool) this.#socket.end();
  }

  /** Close it as soon as it has all: now, unless it lags. */
  hurry(): void {
    if (!this.#spool) {
      this.drop();
      return;
    }
    behind.add(this);
    this.#stall ??= setTimeout(() => this.drop(), STALL_MS);
  }

  drop(): void {
    this.#socket.terminate();
  }

  closed(): void {
    clearTimeout(this.#stall);
    this.#spool?.close();
    this.#spool = undefined;
    this.#ending = true;
    if (behind.delete(this) && behind.size === 0) caughtUp?.();
  }

  #write(bytes: Uint8Array): void {
    let rest = bytes;
    if (!this.#spool) {
      const written = this.#socket.write(bytes);
      if (written < 0 || written === bytes.length) return;
      rest = bytes.subarray(written);
      const { Spool } = spool();
      this.#spool = new Spool(this.#options.spoolDirectory);
    }
    // A full disk costs this client its connection, and nobody else anything.
    if (!this.#spool.add(rest)) this.drop();
  }

  #progress(): void {
    clearTimeout(this.#stall);
    this.#stall = behind.has(this) ? setTimeout(() => this.drop(), STALL_MS) : undefined;
  }
}

function remove(socketPath: string): void {
  try {
    unlink(socketPath);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
