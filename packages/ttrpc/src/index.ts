export {
  connectTtrpc,
  createTtrpcClient,
  type TtrpcCallOptions,
  type TtrpcClientOf,
  type TtrpcConnection,
} from "./client.ts";
export type { MethodDefinition, ServiceDefinition } from "./definition.ts";
export { encodeFrame, type Frame, FrameDecoder, FrameFlag, FrameType, MAX_BODY_BYTES } from "./frame.ts";
export { fromRpcStatus, toRpcStatus } from "./rpc-status.ts";
export {
  type SuspendedServer,
  serveTtrpc,
  type TtrpcContext,
  type TtrpcHandlers,
  type TtrpcServer,
} from "./server.ts";
