import { isErrno } from "@longshore/errors";
import { setsockopt } from "@longshore/syscalls";
import { DatagramAnswers, type DatagramListener } from "./datagram-answers.ts";
import { FrameReader, frame } from "./framing.ts";
import type { Answer, Resolver } from "./resolver.ts";
import { emptySocket, PausableSocket, Turns } from "./turns.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
/** For queries that come while the process is busy: some 10,000, each counted with the kernel's overhead. */
const RECEIVE_BYTES = 8 * 1024 * 1024;

export interface ServerOptions {
  /** At a time, of all listeners; further ones are closed at once. */
  readonly maxConnections?: number;
  /** Of one client's address. */
  readonly maxConnectionsOfClient?: number;
  /** How long a TCP connection may be without a query. Whole seconds. */
  readonly idleSeconds?: number;
  /** Queries by UDP that wait for other servers; further ones are dropped. */
  readonly maxWaiting?: number;
  /** Those of a client that has a listener of its own: nobody else is kept waiting for its. */
  readonly maxWaitingOfClient?: number;
}

export interface ListenOptions {
  /** Whom all queries are taken to be from, whatever their address: where only one can ask. */
  readonly client?: string | undefined;
}

/** Of one connection: queries that wait for an answer, and bytes of answers that wait for the client. Beyond it is closed. */
const MAX_PENDING = 128;
const MAX_UNSENT_BYTES = 256 * 1024;

/** Answers that wait for the kernel to take more, of one listener; further ones are dropped. */
const MAX_UNSENT_DATAGRAMS = 16_384;

const NOTHING = new Uint8Array();

type Datagram = readonly [answer: Buffer, port: number, address: string];

interface Connection {
  readonly client: string;
  readonly frames: FrameReader;
  pending: number;
  unsent: Buffer[];
  unsentBytes: number;
  /** Its time in this turn is over: what has come waits. */
  isPaused: boolean;
  /** @see Turns.share */
  readonly endTurn: () => boolean;
}

interface UdpListener extends Disposable {
  readonly socket: Bun.udp.Socket<"buffer">;
}

interface Listener {
  readonly udp: UdpListener;
  readonly tcp: Bun.TCPSocketListener<Connection>;
}

type TcpSocket = Bun.Socket<Connection>;

/** Serves a resolver on any number of addresses, by UDP and TCP. */
export class DnsServer implements Disposable {
  readonly #resolver: Resolver;
  readonly #options: Required<ServerOptions>;
  readonly #listeners = new Map<string, Listener>();
  readonly #connections = new Map<string, number>();
  readonly #datagrams: DatagramAnswers;
  readonly #turns = new Turns();
  readonly #empty = emptySocket();
  #connected = 0;
  #waiting = 0;
  #listened = 0;
  #disposed = false;

  constructor(resolver: Resolver, options: ServerOptions = {}) {
    this.#resolver = resolver;
    this.#datagrams = new DatagramAnswers(resolver);
    this.#options = {
      ...{ maxConnections: 512, maxConnectionsOfClient: 32, idleSeconds: 10, maxWaiting: 16_384 },
      // As Docker has it for a container.
      maxWaitingOfClient: 1024,
      ...options,
    };
  }

  /** The addresses that it listens on, as they were given. */
  get addresses(): string[] {
    return [...this.#listeners.keys()];
  }

  /** How many TCP connections there are. */
  get connections(): number {
    return this.#connected;
  }

  /**
   * Listen on an address; port 0 takes a free one. The sockets belong to the network namespace that the thread is in when this is called.
   *
   * @throws Error with the `code` EADDRINUSE or EADDRNOTAVAIL
   */
  async listen(
    hostname: string,
    port = 53,
    { client }: ListenOptions = {},
  ): Promise<{ hostname: string; port: number }> {
    using undo = new DisposableStack();
    const tcp = this.#listenTcp(hostname, port, client);
    undo.defer(() => tcp.stop(true));
    const udp = await this.#listenUdp(hostname, tcp.port, client);
    undo.use(udp);
    if (this.#disposed) throw new Error("the DNS server has ended");
    growReceiveBuffer(descriptorOf(udp.socket));
    this.#listeners.set(keyOf(hostname, tcp.port, client), { udp, tcp });
    undo.move();
    return { hostname, port: tcp.port };
  }

  /** No longer listen on an address; its connections end. Returns whether it did. */
  remove(hostname: string, port = 53, { client }: ListenOptions = {}): boolean {
    const key = keyOf(hostname, port, client);
    const listener = this.#listeners.get(key);
    if (!listener) return false;
    this.#listeners.delete(key);
    listener.udp[Symbol.dispose]();
    listener.tcp.stop(true);
    return true;
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const { udp, tcp } of this.#listeners.values()) {
      udp[Symbol.dispose]();
      tcp.stop(true);
    }
    this.#listeners.clear();
    this.#empty[Symbol.dispose]();
  }

  async #listenUdp(hostname: string, port: number, client: string | undefined): Promise<UdpListener> {
    const unsent: Datagram[] = [];
    const { maxWaiting, maxWaitingOfClient } = this.#options;
    const mostHere = client === undefined ? maxWaiting : maxWaitingOfClient;
    let waitingHere = 0;
    const isFull = () => this.#waiting >= maxWaiting || waitingHere >= mostHere;
    const send = (answer: Answer, clientPort: number, address: string): void => {
      if (!answer || socket.closed) return;
      const datagram = [answer, clientPort, address] as const;
      if (unsent.length === 0 && !reads?.isPaused && sendDatagram(socket, datagram)) return;
      if (unsent.length < MAX_UNSENT_DATAGRAMS) unsent.push(datagram);
    };
    const later = (answer: Promise<Answer>, clientPort: number, address: string): void => {
      this.#waiting++;
      waitingHere++;
      void answer
        .then((bytes) => send(bytes, clientPort, address))
        .finally(() => {
          this.#waiting--;
          waitingHere--;
        });
    };
    const sendUnsent = (): void => {
      if (reads?.isPaused || socket.closed) return;
      const count = unsent.findIndex((datagram) => !sendDatagram(socket, datagram));
      unsent.splice(0, count < 0 ? unsent.length : count);
    };
    let listener: DatagramListener | undefined;
    let reads: PausableSocket | undefined;
    let startedAt: number | undefined;
    /** Whether there is time in this turn; at its end reading stops until the next. */
    const hasTime = (): boolean => {
      if (!reads || reads.isPaused) return false;
      const now = performance.now();
      const share = this.#turns.share(now, endTurn);
      startedAt ??= now;
      if (now - startedAt < share) return true;
      reads.pause();
      return false;
    };
    const endTurn = (): boolean => {
      startedAt = undefined;
      if (!reads?.isPaused) return false;
      reads.resume();
      sendUnsent();
      return true;
    };
    const socket = await Bun.udpSocket({
      ...{ hostname, port },
      socket: {
        data: (_, query, clientPort, address) => {
          const goesOn = hasTime();
          if (isFull()) return;
          const answer = this.#resolver.answer(client ?? address, query, "udp");
          if (answer instanceof Promise) later(answer, clientPort, address);
          else send(answer, clientPort, address);
          // What has come meanwhile is answered without a call for each.
          if (listener && goesOn) this.#datagrams.drain(listener);
        },
        drain: sendUnsent,
        // A client that is gone before its answer.
        error() {},
      },
    });
    const fd = descriptorOf(socket);
    const known = { client, isOfOne: client !== undefined };
    listener = { ...{ number: this.#listened++, fd, ...known }, ...{ isFull, hasTime, send, later } };
    const paused = new PausableSocket(fd, this.#empty.number);
    reads = paused;
    return {
      socket,
      [Symbol.dispose]() {
        reads = undefined;
        paused[Symbol.dispose]();
        socket.close();
      },
    };
  }

  #listenTcp(hostname: string, port: number, known: string | undefined): Bun.TCPSocketListener<Connection> {
    return Bun.listen<Connection>({
      ...{ hostname, port },
      socket: {
        open: (socket) => this.#open(socket, known ?? socket.remoteAddress),
        data: (socket, bytes) => {
          // One that was refused has none.
          if (socket.data) this.#take(socket, bytes);
        },
        drain: flush,
        timeout: (socket) => socket.terminate(),
        close: (socket) => this.#closed(socket),
        error: (socket) => socket.terminate(),
      },
    });
  }

  #open(socket: TcpSocket, client: string): void {
    const ofClient = this.#connections.get(client) ?? 0;
    const { maxConnections, maxConnectionsOfClient, idleSeconds } = this.#options;
    if (this.#connected >= maxConnections || ofClient >= maxConnectionsOfClient) {
      socket.terminate();
      return;
    }
    this.#connected++;
    this.#connections.set(client, ofClient + 1);
    const endTurn = (): boolean => {
      const { data } = socket;
      if (!data.isPaused) return false;
      data.isPaused = false;
      if (socket.readyState <= 0) return false;
      socket.resume();
      this.#take(socket, NOTHING);
      return true;
    };
    socket.data = {
      ...{ client, frames: new FrameReader(), pending: 0, unsent: [], unsentBytes: 0 },
      ...{ isPaused: false, endTurn },
    };
    socket.timeout(idleSeconds);
  }

  #closed({ data }: TcpSocket): void {
    if (!data) return;
    this.#connected--;
    const ofClient = (this.#connections.get(data.client) ?? 1) - 1;
    if (ofClient > 0) this.#connections.set(data.client, ofClient);
    else this.#connections.delete(data.client);
  }

  /** Answer what has come, or is still there from before, as long as there is time in this turn. */
  #take(socket: TcpSocket, bytes: Uint8Array): void {
    const { data } = socket;
    if (data.isPaused) {
      data.frames.hold(bytes);
      return;
    }
    const startedAt = performance.now();
    const share = this.#turns.share(startedAt, data.endTurn);
    for (const query of data.frames.push(bytes)) {
      // A part of a query doesn't count: it might be all that ever comes.
      socket.timeout(this.#options.idleSeconds);
      this.#query(socket, query);
      if (performance.now() - startedAt < share || socket.readyState <= 0) continue;
      data.isPaused = true;
      socket.pause();
      return;
    }
  }

  #query(socket: TcpSocket, query: Uint8Array): void {
    const { data } = socket;
    if (socket.readyState <= 0) return;
    if (data.pending >= MAX_PENDING || data.unsentBytes > MAX_UNSENT_BYTES) {
      socket.terminate();
      return;
    }
    const answer = this.#resolver.answer(data.client, query, "tcp");
    if (!(answer instanceof Promise)) {
      sendFramed(socket, answer);
      return;
    }
    data.pending++;
    void answer.then((bytes) => sendFramed(socket, bytes)).finally(() => data.pending--);
  }
}

const keyOf = (hostname: string, port: number, client: string | undefined): string =>
  `${hostname} ${port}${client === undefined ? "" : ` ${client}`}`;

/** Bun's sockets tell it, its types don't. */
const descriptorOf = (socket: object): number => (socket as { readonly fd: number }).fd;

function growReceiveBuffer(fd: number): void {
  try {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES);
  } catch (error) {
    if (!isErrno(error, "EPERM")) throw error;
    // Who isn't root gets what the administrator allows.
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES);
  }
}

/** Returns whether it is off one's hands; else the kernel takes no more for now. */
function sendDatagram(socket: Bun.udp.Socket<"buffer">, [answer, port, address]: Datagram): boolean {
  try {
    return socket.send(answer, port, address);
  } catch {
    // As with any lost packet, the client asks again.
    return true;
  }
}

function sendFramed(socket: TcpSocket, answer: Answer): void {
  if (!answer || socket.readyState <= 0) return;
  const { data } = socket;
  const framed = frame(answer);
  data.unsent.push(framed);
  data.unsentBytes += framed.length;
  if (data.unsent.length === 1) flush(socket);
}

/** Give the kernel what it takes. */
function flush(socket: TcpSocket): void {
  const { data } = socket;
  if (!data) return;
  for (let first = data.unsent[0]; first; first = data.unsent[0]) {
    const count = socket.write(first);
    if (count > 0) data.unsentBytes -= count;
    if (count < first.length) {
      if (count > 0) data.unsent[0] = first.subarray(count);
      return;
    }
    data.unsent.shift();
  }
}
