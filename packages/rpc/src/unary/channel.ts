import { EngineError } from "@longshore/errors";
import { CODE_TRAILER, fromStatus } from "../grpc-status.ts";
import { MESSAGE_HEADER_BYTES } from "./answer-body.ts";
import { NotProcessed, UnaryConnection, type UnaryRequest } from "./connection.ts";
import { encodeHeaders } from "./hpack.ts";

/** Of a call that the server refused to look at. */
const ATTEMPTS = 3;
const USER_AGENT = "grpc-longshore/1";

/**
 * Unary calls to the server at a unix socket path, over a connection that is made at the first call, and anew when it has
 * ended. grpc-js does the same for four times the CPU time, which is why it is left with the streams.
 */
export class UnaryChannel {
  readonly #socketPath: string;
  #connection: UnaryConnection | undefined;
  #opening: Promise<UnaryConnection> | undefined;
  #closed = false;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /**
   * @returns the answer's message
   * @throws EngineError what the server answered; `unavailable` when it can't be reached or goes before its answer
   */
  async call(request: UnaryRequest): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      const connection = this.#connection?.usable ? this.#connection : await this.#connect();
      request.signal?.throwIfAborted();
      try {
        const { trailers, body } = await connection.call(request);
        return messageOf(request.path, trailers, body);
      } catch (error) {
        if (!(error instanceof NotProcessed) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  #connect(): Promise<UnaryConnection> {
    if (this.#closed)
      return Promise.reject(new EngineError("unavailable", `${this.#socketPath}: the channel is closed`));
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<UnaryConnection> {
    const connection = await UnaryConnection.open(this.#socketPath);
    if (this.#closed) connection.close();
    this.#connection = connection;
    return connection;
  }
}

/** The header block of calls of a method, without their deadline. */
export function requestHeaders(path: string, metadata: Record<string, string>): Buffer {
  return encodeHeaders([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
    ["user-agent", USER_AGENT],
    ...Object.entries(metadata).map(([key, value]) => [key.toLowerCase(), value] as const),
  ]);
}

function messageOf(path: string, trailers: ReadonlyMap<string, string>, body: Buffer): Uint8Array {
  const status = trailers.get("grpc-status");
  if (status === undefined)
    throw new EngineError(
      "unknown",
      `${path}: an answer of HTTP status ${trailers.get(":status")} that is not gRPC's`,
    );
  if (status !== "0") {
    const message = decodeMessage(trailers.get("grpc-message") ?? "");
    throw fromStatus(Number(status), message, trailers.get(CODE_TRAILER));
  }
  const end = MESSAGE_HEADER_BYTES + (body.byteLength < MESSAGE_HEADER_BYTES ? 0 : body.readUInt32BE(1));
  if (body[0] !== 0 || end !== body.byteLength)
    throw new EngineError("internal", `${path}: an answer that is not one message`);
  return body.subarray(MESSAGE_HEADER_BYTES, end);
}

/** Percent-encoded UTF-8; what isn't is taken as it is. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
