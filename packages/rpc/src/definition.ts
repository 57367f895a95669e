import type { MethodDefinition as GrpcMethod } from "@grpc/grpc-js";

/** How ts-proto describes a message: its codec. */
export interface MessageType<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** One method of a generated `…Definition`. */
export interface MethodDefinition {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: the generated definitions are invariant in their message types
  readonly requestType: MessageType<any>;
  readonly requestStream: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly responseType: MessageType<any>;
  readonly responseStream: boolean;
}

/** A generated service, e.g. `TasksDefinition`. */
export interface ServiceDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

export type MessageOf<T> = T extends MessageType<infer M> ? M : never;
export type RequestOf<M extends MethodDefinition> = MessageOf<M["requestType"]>;
export type ResponseOf<M extends MethodDefinition> = MessageOf<M["responseType"]>;

/** The same method as grpc-js wants it. */
export function grpcMethod(
  service: ServiceDefinition,
  method: MethodDefinition,
): GrpcMethod<unknown, unknown> {
  return {
    path: `/${service.fullName}/${method.name}`,
    requestStream: method.requestStream,
    responseStream: method.responseStream,
    requestSerialize: (message) => Buffer.from(method.requestType.encode(message).finish()),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: (message) => Buffer.from(method.responseType.encode(message).finish()),
    responseDeserialize: (bytes) => method.responseType.decode(bytes),
  };
}
