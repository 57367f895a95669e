import { Request, Response } from "@longshore/api/ttrpc/request";
import { EngineError } from "@longshore/errors";
import type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "./definition.ts";
import { encodeFrame, type Frame, FrameDecoder, FrameType, MAX_HELD_BYTES, tooLong } from "./frame.ts";
import { fromRpcStatus } from "./rpc-status.ts";
import { SocketWriter } from "./socket-writer.ts";

export interface TtrpcCallOptions {
  signal?: AbortSignal;
  /** Also told to the server. Without one a call waits as long as its connection lasts. */
  timeoutMs?: number;
  /** Sent as request metadata, e.g. `{ "containerd-namespace-ttrpc": "moby" }`. */
  metadata?: Record<string, string>;
}

/** A typed stub: each method an async function. */
export type TtrpcClientOf<S extends ServiceDefinition> = {
  readonly [K in keyof S["methods"]]: (
    request: RequestOf<S["methods"][K]>,
    options?: TtrpcCallOptions,
  ) => Promise<ResponseOf<S["methods"][K]>>;
};

/** One socket to a ttrpc server; any number of calls at once, of any number of clients made from it. */
export interface TtrpcConnection {
  /**
   * @throws EngineError what the server answered; `unavailable` when the connection ends before the answer,
   * `deadline_exceeded` and `canceled` for the options' limits, `resource_exhausted` when too much
   * waits for a server that doesn't read
   */
  call(service: string, method: string, payload: Uint8Array, options?: TtrpcCallOptions): Promise<Buffer>;
  readonly closed: Promise<void>;
  /** Whether `closed` has happened. */
  readonly isClosed: boolean;
  /** End the connection; calls under way fail as `unavailable`. */
  close(): void;
  /** Whether this connection keeps the process alive (it does by default). */
  setKeepsAlive(keepsAlive: boolean): void;
}

/**
 * Connect to the unix socket at a path (`unix://` before it is allowed).
 *
 * @throws EngineError `unavailable` when nothing listens there
 */
export async function connectTtrpc(address: string): Promise<TtrpcConnection> {
  const path = address.startsWith("unix://") ? address.slice("unix://".length) : address;
  const connection = new Connection(path);
  try {
    await Bun.connect<undefined>({
      unix: path,
      socket: {
        binaryType: "buffer",
        open: (socket) => connection.opened(socket),
        data: (_, chunk) => connection.received(chunk),
        drain: () => connection.drained(),
        close: () => connection.ended(),
        error: (_, error) => connection.ended(error),
      },
    });
  } catch (error) {
    throw unavailable(path, error);
  }
  return connection;
}

/** A stub for one generated service over a connection. */
export function createTtrpcClient<S extends ServiceDefinition>(
  connection: TtrpcConnection,
  service: S,
  defaults: TtrpcCallOptions = {},
): TtrpcClientOf<S> {
  const entries = Object.entries(service.methods).map(([key, method]) => [
    key,
    (request: unknown, options: TtrpcCallOptions = {}) =>
      callUnary(connection, service, method, request, {
        ...defaults,
        ...options,
        metadata: { ...defaults.metadata, ...options.metadata },
      }),
  ]);
  return Object.fromEntries(entries) as TtrpcClientOf<S>;
}

async function callUnary(
  connection: TtrpcConnection,
  service: ServiceDefinition,
  method: MethodDefinition,
  request: unknown,
  options: TtrpcCallOptions,
): Promise<unknown> {
  if (method.requestStream || method.responseStream) {
    throw new EngineError(
      "unimplemented",
      `${service.fullName}/${method.name} streams; only unary calls are made`,
    );
  }
  const payload = method.requestType.encode(request).finish();
  return method.responseType.decode(await connection.call(service.fullName, method.name, payload, options));
}

interface PendingCall {
  resolve(payload: Buffer): void;
  reject(error: EngineError): void;
}

class Connection implements TtrpcConnection {
  readonly #path: string;
  readonly #calls = new Map<number, PendingCall>();
  readonly #decoder = new FrameDecoder({
    frame: (frame) => this.#answered(frame),
    oversized: (streamId, _type, bytes) => this.#calls.get(streamId)?.reject(tooLong(bytes)),
  });
  readonly #closing = Promise.withResolvers<void>();
  #socket: Bun.Socket<undefined> | undefined;
  #writer: SocketWriter | undefined;
  /** Streams of a client are odd and rise. */
  #nextStreamId = 1;
  isClosed = false;

  constructor(path: string) {
    this.#path = path;
  }

  get closed(): Promise<void> {
    return this.#closing.promise;
  }

  opened(socket: Bun.Socket<undefined>): void {
    this.#socket = socket;
    this.#writer = new SocketWriter(socket);
  }

  received(chunk: Uint8Array): void {
    this.#decoder.push(chunk);
  }

  drained(): void {
    this.#writer?.drained();
  }

  ended(cause?: unknown): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const call of [...this.#calls.values()]) call.reject(unavailable(this.#path, cause));
    this.#closing.resolve();
  }

  close(): void {
    this.#socket?.terminate();
    this.ended();
  }

  setKeepsAlive(keepsAlive: boolean): void {
    if (keepsAlive) this.#socket?.ref();
    else this.#socket?.unref();
  }

  async call(
    service: string,
    method: string,
    payload: Uint8Array,
    { signal, timeoutMs, metadata = {} }: TtrpcCallOptions = {},
  ): Promise<Buffer> {
    if (signal?.aborted) throw canceled(service, method, signal.reason);
    if (this.isClosed || !this.#writer) throw unavailable(this.#path);
    if (this.#writer.waitingBytes > MAX_HELD_BYTES)
      throw new EngineError("resource_exhausted", `ttrpc ${this.#path}: the server does not read`);
    const request = Request.encode({
      service,
      method,
      payload: Buffer.from(payload.buffer, payload.byteOffset, payload.length),
      timeoutNano: BigInt(Math.round((timeoutMs ?? 0) * 1e6)),
      metadata: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    }).finish();
    const streamId = this.#nextStreamId;
    const frame = encodeFrame(streamId, FrameType.request, request);
    this.#nextStreamId += 2;

    const answer = Promise.withResolvers<Buffer>();
    this.#calls.set(streamId, answer);
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => answer.reject(timedOut(service, method, timeoutMs)), timeoutMs);
    const abort = () => answer.reject(canceled(service, method, signal?.reason));
    signal?.addEventListener("abort", abort, { once: true });
    this.#writer.write(frame);
    try {
      return await answer.promise;
    } finally {
      this.#calls.delete(streamId);
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  #answered({ streamId, type, body }: Frame): void {
    const call = this.#calls.get(streamId);
    // The answer to a call that was given up.
    if (!call) return;
    if (type !== FrameType.response) {
      call.reject(new EngineError("internal", `a ttrpc frame of type ${type} where a response was due`));
      return;
    }
    try {
      const { status, payload } = Response.decode(body);
      const error = fromRpcStatus(status);
      if (error) call.reject(error);
      else call.resolve(payload);
    } catch (cause) {
      call.reject(new EngineError("internal", "a ttrpc response that does not parse", { cause }));
    }
  }
}

function unavailable(path: string, cause?: unknown): EngineError {
  const why = cause instanceof Error ? cause.message : "the connection is closed";
  return new EngineError("unavailable", `ttrpc ${path}: ${why}`, { cause });
}

function timedOut(service: string, method: string, timeoutMs: number): EngineError {
  return new EngineError("deadline_exceeded", `${service}/${method}: no answer within ${timeoutMs} ms`);
}

function canceled(service: string, method: string, cause: unknown): EngineError {
  return new EngineError("canceled", `${service}/${method} was canceled`, { cause });
}
