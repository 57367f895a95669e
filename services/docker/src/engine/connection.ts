import { isIP } from "node:net";
import { CliError } from "../cli-error.ts";
import type { EngineHost } from "./host.ts";
import type { ClientTls } from "./tls.ts";

/** Bytes that may wait for their reader before the peer is held up. */
const READ_AHEAD_BYTES = 1 << 20;

/** A byte stream to the engine, with half-close. */
export class Connection {
  readonly #chunks: Buffer[] = [];
  #buffered = 0;
  #ended = false;
  #error: Error | undefined;
  #onData: (() => void) | undefined;
  #onDrain: (() => void) | undefined;
  #socket: Bun.Socket<undefined> | undefined;

  /** @throws CliError in Docker's words when nobody listens there */
  static async open(host: EngineHost): Promise<Connection> {
    const connection = new Connection();
    const socket: Bun.SocketHandler<undefined> = {
      data: (_socket, data) => connection.#take(data),
      drain: () => connection.#onDrain?.(),
      // With allowHalfOpen the peer's end arrives here, and writing goes on.
      end: () => connection.#end(),
      close: () => connection.#end(),
      error: (_socket, error) => connection.#end(error),
    };
    const { unix, tcp, tls } = host;
    const secured = tls && Promise.withResolvers<void>();
    if (secured) {
      socket.handshake = (_socket, success, error) => {
        if (success && !(tls.verify && error)) secured.resolve();
        else secured.reject(new CliError(`error during connect: ${host.name}: ${error?.message ?? "TLS"}`));
      };
      socket.close = () => {
        secured.reject(
          new CliError(`error during connect: ${host.name}: the engine ended the TLS handshake`),
        );
        connection.#end();
      };
    }
    try {
      connection.#socket = await (unix !== undefined
        ? Bun.connect<undefined>({ unix, socket, allowHalfOpen: true })
        : Bun.connect<undefined>({
            ...{ hostname: "", port: 0, ...tcp, socket, allowHalfOpen: true },
            ...(tls && { tls: tlsOptions(tls, tcp?.hostname ?? "") }),
          }));
      await secured?.promise;
    } catch (error) {
      if (error instanceof CliError) throw error;
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      if (code === "EACCES") {
        throw new CliError(
          `permission denied while trying to connect to the Docker daemon socket at ${host.name}: dial unix ${host.unix}: connect: permission denied`,
        );
      }
      throw new CliError(
        `Cannot connect to the Docker daemon at ${host.name}. Is the docker daemon running?`,
      );
    }
    return connection;
  }

  /** Resolves when the socket has taken all of it. What the peer no longer wants is dropped: its answer tells why. */
  async write(data: Uint8Array): Promise<void> {
    let rest = data;
    while (rest.length > 0 && !this.#ended) {
      const written = this.#socket?.write(rest) ?? -1;
      if (written < 0) return;
      rest = rest.subarray(written);
      if (rest.length === 0) return;
      await new Promise<void>((resolve) => {
        this.#onDrain = resolve;
      });
    }
  }

  /** The peer has said something, or has gone. */
  get hasAnswer(): boolean {
    return this.#buffered > 0 || this.#ended;
  }

  /** End our direction only. */
  closeWrite(): void {
    this.#socket?.shutdown();
  }

  close(): void {
    this.#socket?.terminate();
  }

  /** The next bytes; undefined at the end. */
  async read(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk) {
        if (this.#buffered > READ_AHEAD_BYTES) this.#socket?.resume();
        this.#buffered -= chunk.length;
        return chunk;
      }
      if (this.#error) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#onData = resolve;
      });
    }
  }

  /** Give bytes back that were read too far. */
  unread(data: Buffer): void {
    if (data.length === 0) return;
    this.#chunks.unshift(data);
    this.#buffered += data.length;
  }

  #take(data: Buffer): void {
    // Bun may reuse the memory after this call.
    this.#chunks.push(Buffer.from(data));
    this.#buffered += data.length;
    if (this.#buffered > READ_AHEAD_BYTES) this.#socket?.pause();
    this.#onData?.();
  }

  #end(error?: Error): void {
    this.#ended = true;
    this.#error ??= error;
    this.#onData?.();
    this.#onDrain?.();
  }
}

function tlsOptions({ ca, cert, key, verify }: ClientTls, hostname: string): Bun.TLSOptions {
  return {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(!isIP(hostname) && { serverName: hostname }),
    rejectUnauthorized: verify,
  };
}
