import { EngineError } from "@longshore/errors";

/**
 * The longest message that servers and clients send or accept, in bytes.
 * @see containerd's `defaults/defaults.go`: DefaultMaxRecvMsgSize, DefaultMaxSendMsgSize
 */
export const MESSAGE_LIMIT_BYTES = 16 << 20;

/** The limit as options of grpc-js, for a server or a client. */
export const MESSAGE_LIMIT_OPTIONS = {
  "grpc.max_receive_message_length": MESSAGE_LIMIT_BYTES,
  "grpc.max_send_message_length": MESSAGE_LIMIT_BYTES,
} as const;

/** The error for a message that is not sent, in the words of grpc-go. */
export function tooLongToSend(bytes: number): EngineError {
  return new EngineError(
    "resource_exhausted",
    `trying to send message larger than max (${bytes} vs. ${MESSAGE_LIMIT_BYTES})`,
  );
}

/** The error for an answer that is not read, in the words of grpc-go. */
export function tooLongToReceive(bytes: number): EngineError {
  return new EngineError(
    "resource_exhausted",
    `grpc: received message larger than max (${bytes} vs. ${MESSAGE_LIMIT_BYTES})`,
  );
}
