import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  connectivityState,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  grpcMethod,
  type MethodDefinition,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
} from "./definition.ts";
import { fromGrpcError } from "./grpc-status.ts";
import { MESSAGE_LIMIT_OPTIONS } from "./message-limit.ts";
import { requestHeaders, UnaryChannel } from "./unary/channel.ts";

export interface CallOptions {
  signal?: AbortSignal;
  /** Until the answer is complete. A unary call without one fails after 60 s; a stream may then go on for ever. */
  timeoutMs?: number;
  /** Sent as gRPC metadata, e.g. `{ "containerd-namespace": "moby" }`. */
  metadata?: Record<string, string>;
}

/** A typed stub: unary methods are async functions, server streams async iterables, two-way streams take an iterable. */
export type ClientOf<S extends ServiceDefinition> = {
  readonly [K in keyof S["methods"]]: CallOf<S["methods"][K]>;
};

type CallOf<M extends MethodDefinition> = M["requestStream"] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, options?: CallOptions) => Promise<ResponseOf<M>>;

const UNARY_TIMEOUT_MS = 60_000;
const RECONNECT_MS = 1000;
/** What grpc-js may wait beyond that, and a connection takes. */
const JITTER_MS = 300;

/** Connections to a gRPC server at a unix socket path, made when they are needed; closed by the owner of the channel. */
export class Channel {
  /** For calls without streams, which are most. */
  readonly unary: UnaryChannel;
  readonly #socketPath: string;
  readonly #ownConnection: boolean;
  #streams: Client | undefined;

  constructor(socketPath: string, ownConnection: boolean) {
    this.unary = new UnaryChannel(socketPath);
    this.#socketPath = socketPath;
    this.#ownConnection = ownConnection;
  }

  /** For calls with streams. */
  get streams(): Client {
    this.#streams ??= new Client(`unix:${this.#socketPath}`, credentials.createInsecure(), {
      ...MESSAGE_LIMIT_OPTIONS,
      "grpc.default_authority": "localhost",
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": RECONNECT_MS,
      ...(this.#ownConnection && { "grpc.use_local_subchannel_pool": 1 }),
    });
    return this.#streams;
  }

  /**
   * After a connection that failed, wait for the next attempt's end: grpc-js pauses before it, and meanwhile fails calls with the last error,
   * though the server may be back.
   */
  async afterPause(): Promise<void> {
    const channel = this.streams.getChannel();
    if (channel.getConnectivityState(false) !== connectivityState.TRANSIENT_FAILURE) return;
    await new Promise<void>((resolve) => {
      const deadline = Date.now() + RECONNECT_MS + JITTER_MS;
      channel.watchConnectivityState(connectivityState.TRANSIENT_FAILURE, deadline, () => resolve());
    });
  }

  /** Calls under way fail. */
  close(): void {
    this.unary.close();
    this.#streams?.close();
  }
}

/**
 * A channel to a gRPC server at a unix socket path; shared by the clients made from it, closed by its owner.
 * Streams of channels to one path share their connection, unless one asks for its own.
 */
export function channelTo(
  socketPath: string,
  { ownConnection = false }: { ownConnection?: boolean } = {},
): Channel {
  return new Channel(socketPath, ownConnection);
}

/** A stub for one generated service; every failure is an EngineError. */
export function createClient<S extends ServiceDefinition>(
  channel: Channel,
  service: S,
  defaults: CallOptions = {},
): ClientOf<S> {
  const entries = Object.entries(service.methods).map(([key, method]) => [
    key,
    bindMethod(channel, service, method, defaults),
  ]);
  return Object.fromEntries(entries) as ClientOf<S>;
}

function bindMethod(
  channel: Channel,
  service: ServiceDefinition,
  method: MethodDefinition,
  defaults: CallOptions,
): unknown {
  const { path, requestSerialize, responseDeserialize } = grpcMethod(service, method);
  const settle = (options: CallOptions = {}) => ({
    ...defaults,
    ...options,
    metadata: { ...defaults.metadata, ...options.metadata },
  });
  if (method.requestStream) {
    return (requests: AsyncIterable<unknown>, options?: CallOptions) => {
      const o = settle(options);
      return readAll(channel, o.signal, () => {
        const call = channel.streams.makeBidiStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          metadataOf(o),
          deadlineOf(o),
        );
        void writeAll(call, requests);
        return call;
      });
    };
  }
  if (method.responseStream) {
    return (request: unknown, options?: CallOptions) => {
      const o = settle(options);
      return readAll(channel, o.signal, () =>
        channel.streams.makeServerStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadataOf(o),
          deadlineOf(o),
        ),
      );
    };
  }
  const usual = requestHeaders(path, defaults.metadata ?? {});
  return async (request: unknown, options: CallOptions = {}) => {
    const signal = options.signal ?? defaults.signal;
    signal?.throwIfAborted();
    const headers = options.metadata ? requestHeaders(path, settle(options).metadata) : usual;
    const timeoutMs = options.timeoutMs ?? defaults.timeoutMs ?? UNARY_TIMEOUT_MS;
    const message = requestSerialize(request);
    return responseDeserialize(
      (await channel.unary.call({ path, headers, message, timeoutMs, signal })) as Buffer,
    );
  };
}

function deadlineOf({ timeoutMs }: CallOptions): { deadline?: number } {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function metadataOf(options: CallOptions): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
  return metadata;
}

async function* readAll(
  channel: Channel,
  signal: AbortSignal | undefined,
  open: () => ClientReadableStream<unknown>,
): AsyncGenerator<unknown> {
  signal?.throwIfAborted();
  await channel.afterPause();
  signal?.throwIfAborted();
  const call = open();
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for await (const message of call) yield message;
  } catch (error) {
    throw fromGrpcError(error as ServiceError);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

async function writeAll(
  call: ClientDuplexStream<unknown, unknown>,
  requests: AsyncIterable<unknown>,
): Promise<void> {
  try {
    for await (const request of requests) {
      if (!call.write(request)) await drained(call);
    }
    call.end();
  } catch (error) {
    call.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Until the stream takes more, or takes nothing any more. */
function drained(call: ClientDuplexStream<unknown, unknown>): Promise<void> {
  return new Promise((resolve) => {
    const events = ["drain", "close", "end", "error"];
    const done = () => {
      for (const event of events) call.off(event, done);
      resolve();
    };
    for (const event of events) call.on(event, done);
  });
}
