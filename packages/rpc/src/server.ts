import fs from "node:fs";
import path from "node:path";
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { isErrno } from "@longshore/errors";
import {
  grpcMethod,
  type MethodDefinition,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
} from "./definition.ts";
import { toGrpcError } from "./grpc-status.ts";
import { MESSAGE_LIMIT_OPTIONS } from "./message-limit.ts";

/** What a handler knows of its call beside the request. */
export interface CallContext {
  /** Aborted when the client cancels, its deadline passes or its connection ends. */
  signal: AbortSignal;
  /** The first value of a metadata key, e.g. `containerd-namespace`. */
  metadata(key: string): string | undefined;
}

/** The handlers of a service: async functions, async generators for server streams. */
export type Handlers<S extends ServiceDefinition> = {
  readonly [K in keyof S["methods"]]: HandlerOf<S["methods"][K]>;
};

type HandlerOf<M extends MethodDefinition> = M["requestStream"] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => AsyncIterable<ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>> | ResponseOf<M>;

export interface RpcServer {
  add<S extends ServiceDefinition>(service: S, handlers: Handlers<S>): void;
  /** Listen on a unix socket that only its owner may use; a stale socket file is replaced. */
  listen(socketPath: string): Promise<void>;
  /** Stop accepting, let running calls end for a moment, then cancel them. */
  close(graceMs?: number): Promise<void>;
}

/** A gRPC server for generated services. */
export function serve({
  onCall = () => {},
}: {
  /** Told of each call as it comes. */ onCall?: () => void;
} = {}): RpcServer {
  const server = new Server(MESSAGE_LIMIT_OPTIONS);
  return {
    add(service, handlers) {
      const definitions: Record<string, ReturnType<typeof grpcMethod>> = {};
      const implementation: Record<string, UntypedHandleCall> = {};
      for (const [key, method] of Object.entries(service.methods)) {
        definitions[method.name] = grpcMethod(service, method);
        const handler = (handlers as Record<string, AnyHandler>)[key] as AnyHandler;
        implementation[method.name] = adapt(method, (input, context) => {
          onCall();
          return handler(input, context);
        });
      }
      server.addService(definitions, implementation);
    },
    async listen(socketPath) {
      fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o711 });
      try {
        fs.unlinkSync(socketPath);
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
      }
      await new Promise<void>((resolve, reject) =>
        server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
          error ? reject(error) : resolve(),
        ),
      );
      fs.chmodSync(socketPath, 0o660);
    },
    async close(graceMs = 500) {
      const force = setTimeout(() => server.forceShutdown(), graceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(force);
    },
  };
}

type ServerStream = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;
type AnyHandler = (input: unknown, context: CallContext) => unknown;

function adapt(method: MethodDefinition, handler: AnyHandler): UntypedHandleCall {
  if (method.requestStream) {
    return (call: ServerDuplexStream<unknown, unknown>) => {
      // A handler that stops reading must still be able to answer: leaving the loop may not destroy the call.
      const requests = call.iterator({ destroyOnReturn: false });
      // grpc-js leaves the requests of a cancelled call open for ever: who reads them would never end and clean up.
      call.on("cancelled", () => call.destroy());
      void pump(call, handler(requests, contextOf(call)) as AsyncIterable<unknown>);
    };
  }
  if (method.responseStream) {
    return (call: ServerWritableStream<unknown, unknown>) =>
      void pump(call, handler(call.request, contextOf(call)) as AsyncIterable<unknown>);
  }
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    Promise.resolve()
      .then(() => handler(call.request, contextOf(call)))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback(toGrpcError(error)),
      );
  };
}

function contextOf(call: {
  metadata: Metadata;
  on(event: "cancelled", listener: () => void): unknown;
}): CallContext {
  const abort = new AbortController();
  call.on("cancelled", () => abort.abort(new Error("the call was cancelled")));
  return {
    signal: abort.signal,
    metadata: (key) => call.metadata.get(key)[0]?.toString(),
  };
}

async function pump(call: ServerStream, responses: AsyncIterable<unknown>): Promise<void> {
  try {
    for await (const response of responses) {
      if (call.cancelled) break;
      if (!call.write(response)) await drained(call);
    }
    call.end();
  } catch (error) {
    const { code, details, metadata } = toGrpcError(error);
    call.emit("error", { code, details, metadata });
  }
}

function drained(call: ServerStream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("cancelled", done);
      resolve();
    };
    call.on("drain", done);
    call.on("cancelled", done);
  });
}
