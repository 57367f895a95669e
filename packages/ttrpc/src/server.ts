import { Request, Response } from "@longshore/api/ttrpc/request";
import { EngineError, isErrno } from "@longshore/errors";
import type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "./definition.ts";
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  FrameFlag,
  FrameType,
  MAX_HELD_BYTES,
  tooLong,
} from "./frame.ts";
import { toRpcStatus } from "./rpc-status.ts";
import { SocketWriter } from "./socket-writer.ts";

/** What a handler knows of its call beside the request. */
export interface TtrpcContext {
  /** Aborted when the deadline passes or the client's connection ends. */
  readonly signal: AbortSignal;
  /** When the client gives up, in ms since the epoch; undefined when it named no timeout. */
  readonly deadline: number | undefined;
  /** The first value of a metadata key, e.g. `containerd-namespace-ttrpc`. */
  metadata(key: string): string | undefined;
}

/** The handlers of a service, unary only. */
export type TtrpcHandlers<S extends ServiceDefinition> = {
  readonly [K in keyof S["methods"]]: (
    request: RequestOf<S["methods"][K]>,
    context: TtrpcContext,
  ) => Promise<ResponseOf<S["methods"][K]>> | ResponseOf<S["methods"][K]>;
};

export interface TtrpcServer {
  add<S extends ServiceDefinition>(service: S, handlers: TtrpcHandlers<S>): void;
  /**
   * Listen on a unix socket, mode 0600; a stale socket file is replaced. The directory must exist. With `fd`, on a
   * listening socket that the parent process made and that stays the parent's to remove.
   */
  listen(on: string | { fd: number }): void;
  /**
   * What another program needs to go on with this in the same process: undefined while a message is under way, or a call that isn't one of
   * `lasting`. Nothing is closed by it.
   */
  suspend(lasting: readonly string[]): SuspendedServer | undefined;
  /** Go on with what another program left in this process. Its calls are made again. */
  resume(suspended: SuspendedServer): void;
  /** Stop listening, remove the socket file if it was made here, end all connections. */
  close(): void;
}

/** A server that is to go on in another program; descriptors are of the process. Plain data. */
export interface SuspendedServer {
  readonly listener: number;
  readonly sessions: readonly SuspendedSession[];
}

export interface SuspendedSession {
  readonly fd: number;
  /** Requests without their answer; bodies in base64. */
  readonly calls: readonly { readonly streamId: number; readonly body: string }[];
}

/** Calls of one connection at a time. Each process that somebody waits for takes one. */
export const MAX_CALLS = 10_000;
/** A longer timer would go off at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface TtrpcServerOptions {
  /** Somebody has sent something. */
  onActivity?: () => void;
}

type AnyHandler = (request: unknown, context: TtrpcContext) => unknown;
interface Route {
  method: MethodDefinition;
  handler: AnyHandler;
}

/** A ttrpc server for generated services. */
export function serveTtrpc({ onActivity }: TtrpcServerOptions = {}): TtrpcServer {
  const routes = new Map<string, Route>();
  const sessions = new Set<Session>();
  let listener: { stop(closeActiveConnections?: boolean): void; readonly fd: number } | undefined;
  let path: string | undefined;
  const socketHandler: Bun.SocketHandler<Session, "buffer"> = {
    binaryType: "buffer",
    open(socket) {
      // One that is resumed has it already.
      socket.data ??= new Session(routes);
      socket.data.attach(socket);
      sessions.add(socket.data);
    },
    data(socket, chunk) {
      onActivity?.();
      socket.data.received(chunk);
    },
    drain: (socket) => socket.data.drained(),
    close(socket) {
      sessions.delete(socket.data);
      socket.data.ended();
    },
    error: (socket) => socket.data?.ended(),
  };
  return {
    add(service, handlers) {
      for (const [key, method] of Object.entries(service.methods)) {
        const handler = (handlers as Record<string, AnyHandler>)[key] as AnyHandler;
        routes.set(`${service.fullName}/${method.name}`, { method, handler });
      }
    },
    listen(on) {
      if (typeof on === "string") remove(on);
      const where = typeof on === "string" ? { unix: on } : on;
      // Bun takes a listening fd too, and has one, which its types don't say.
      const options = { ...(where as { unix: string }), socket: socketHandler };
      listener = Bun.listen<Session>(options) as unknown as NonNullable<typeof listener>;
      if (typeof on !== "string") return;
      path = on;
      nodeFs().chmodSync(on, 0o600);
    },
    suspend(lasting) {
      const suspended = [...sessions].map((session) => session.suspend(lasting));
      if (!listener || suspended.includes(undefined)) return undefined;
      return { listener: listener.fd, sessions: suspended as SuspendedSession[] };
    },
    resume({ listener: fd, sessions: suspended }) {
      this.listen({ fd });
      for (const { fd, calls } of suspended) {
        const session = new Session(routes);
        const options = { fd, data: session, socket: socketHandler };
        void Bun.connect<Session>(options as unknown as Bun.UnixSocketOptions<Session>).then(() => {
          for (const { streamId, body } of calls) session.again(streamId, Buffer.from(body, "base64"));
        });
      }
    },
    close() {
      listener?.stop(true);
      if (path !== undefined) remove(path);
      path = undefined;
      for (const session of sessions) session.ended();
      sessions.clear();
    },
  };
}

/** Loaded only by servers that make their socket: it would cost each shim 0.4 MB. */
function nodeFs(): typeof import("node:fs") {
  return require("node:fs");
}

function remove(path: string): void {
  try {
    nodeFs().unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** A call that has no answer yet. Its AbortController is made when somebody asks for its signal: most handlers don't. */
class RunningCall {
  readonly frame: Frame;
  request: Request | undefined;
  #controller: AbortController | undefined;
  #reason: EngineError | undefined;

  constructor(frame: Frame) {
    this.frame = frame;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  abort(reason: EngineError): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }
}

/** One client's connection: its frames in, the answers out in whatever order the handlers end. */
class Session {
  readonly #routes: ReadonlyMap<string, Route>;
  #socket: Bun.Socket<Session> | undefined;
  #writer: SocketWriter | undefined;
  readonly #running = new Set<RunningCall>();
  /** Of the requests of running calls. */
  #runningBytes = 0;
  readonly #decoder = new FrameDecoder({
    frame: (frame) => void this.#handle(frame),
    oversized: (streamId, type, bytes) => {
      if (type === FrameType.request) this.#respond(streamId, failed(tooLong(bytes)));
    },
  });

  constructor(routes: ReadonlyMap<string, Route>) {
    this.#routes = routes;
  }

  attach(socket: Bun.Socket<Session>): void {
    this.#socket = socket;
    this.#writer = new SocketWriter(socket);
  }

  suspend(lasting: readonly string[]): SuspendedSession | undefined {
    if (!this.#socket || !this.#writer?.isEmpty || !this.#decoder.isBetweenFrames) return undefined;
    const calls = [...this.#running];
    const last = ({ request }: RunningCall) => request !== undefined && lasting.includes(request.method);
    if (!calls.every(last)) return undefined;
    return {
      fd: (this.#socket as unknown as { fd: number }).fd,
      calls: calls.map(({ frame }) => ({
        streamId: frame.streamId,
        body: frame.body.toString("base64"),
      })),
    };
  }

  /** A request that came before, to another program. */
  again(streamId: number, body: Buffer): void {
    void this.#handle({ streamId, type: FrameType.request, flags: 0, body });
  }

  received(chunk: Uint8Array): void {
    this.#decoder.push(chunk);
  }

  drained(): void {
    this.#writer?.drained();
  }

  ended(): void {
    for (const running of this.#running) running.abort(new EngineError("canceled", "the client has gone"));
    this.#running.clear();
  }

  async #handle(frame: Frame): Promise<void> {
    const { streamId, type, flags, body } = frame;
    // Data belongs to streams, and none was accepted.
    if (type !== FrameType.request) return;
    if (this.#running.size >= MAX_CALLS || this.#runningBytes > MAX_HELD_BYTES) {
      this.#respond(streamId, failed(new EngineError("resource_exhausted", "too many calls at a time")));
      return;
    }
    let response: Response;
    const call = new RunningCall(frame);
    this.#running.add(call);
    this.#runningBytes += body.length;
    try {
      if (streamId % 2 === 0) throw new EngineError("invalid_argument", "stream ids of a client are odd");
      if (flags & FrameFlag.remoteOpen) {
        throw new EngineError("unimplemented", "only unary calls are served");
      }
      call.request = decodeRequest(body);
      response = { status: undefined, payload: await this.#call(call.request, call) };
    } catch (error) {
      response = failed(error);
    } finally {
      this.#running.delete(call);
      this.#runningBytes -= body.length;
    }
    this.#respond(streamId, response);
  }

  async #call(request: Request, call: RunningCall): Promise<Buffer> {
    const route = this.#routes.get(`${request.service}/${request.method}`);
    if (!route) {
      throw new EngineError("unimplemented", `service ${request.service}, method ${request.method}`);
    }
    const timeoutMs = request.timeoutNano > 0n ? Number(request.timeoutNano) / 1e6 : undefined;
    const timer =
      timeoutMs === undefined || timeoutMs > MAX_TIMER_MS
        ? undefined
        : setTimeout(
            () => call.abort(new EngineError("deadline_exceeded", "the deadline passed")),
            timeoutMs,
          );
    try {
      const response = await route.handler(route.method.requestType.decode(request.payload), {
        get signal() {
          return call.signal;
        },
        deadline: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
        metadata: (key) => request.metadata.find((pair) => pair.key === key)?.value,
      });
      const bytes = route.method.responseType.encode(response).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    } finally {
      clearTimeout(timer);
    }
  }

  #respond(streamId: number, response: Response): void {
    let frame: Buffer;
    try {
      frame = encodeFrame(streamId, FrameType.response, Response.encode(response).finish());
    } catch (error) {
      frame = encodeFrame(streamId, FrameType.response, Response.encode(failed(error)).finish());
    }
    this.#writer?.write(frame);
    if ((this.#writer?.waitingBytes ?? 0) > MAX_HELD_BYTES) this.#socket?.terminate();
  }
}

function decodeRequest(body: Buffer): Request {
  try {
    return Request.decode(body);
  } catch (cause) {
    throw new EngineError("invalid_argument", "a ttrpc request that does not parse", { cause });
  }
}

function failed(error: unknown): Response {
  return { status: toRpcStatus(error), payload: Buffer.alloc(0) };
}
