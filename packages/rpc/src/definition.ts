import type { MethodDefinition as GrpcMethod } from "@grpc/grpc-js";
import type { MethodDefinition, ServiceDefinition } from "@longshore/api/definition";

export type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "@longshore/api/definition";

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
