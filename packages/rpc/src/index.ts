export { type CallOptions, type ClientOf, channelTo, createClient } from "./client.ts";
export { collector } from "./collect.ts";
export type { MethodDefinition, ServiceDefinition } from "./definition.ts";
export { fromGrpcError, GRPC_STATUS, toGrpcError } from "./grpc-status.ts";
export { tidyAtRest } from "./rest.ts";
export { type CallContext, type Handlers, type RpcServer, serve } from "./server.ts";
