import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { EngineError } from "@longshore/errors";
import { BODY_LIMIT_BYTES } from "./body.ts";

/** The same request with a body that was read already. */
export function withBody(request: IncomingMessage, body: Buffer): IncomingMessage {
  const { headers, method, url, socket, httpVersion } = request;
  const replayed = new Readable({ read() {} });
  if (body.length > 0) replayed.push(body);
  replayed.push(null);
  return Object.assign(replayed, { headers, method, url, socket, httpVersion }) as unknown as IncomingMessage;
}

/**
 * Read the body of a request that asks for its connection: on connections that were handed to it, node's parser leaves it on the connection.
 *
 * @param rest what has come after the request's head
 * @returns the request with its body, and what has come after that
 * @throws EngineError `invalid_argument` for a body of unknown length, `resource_exhausted` for one over the limit, `canceled` when the
 *   client goes away
 */
export async function takeBody(
  request: IncomingMessage,
  socket: Socket,
  rest: Buffer,
): Promise<{ request: IncomingMessage; rest: Buffer }> {
  if (request.headers["transfer-encoding"] !== undefined)
    throw new EngineError(
      "invalid_argument",
      "a request that takes its connection over needs a Content-Length",
    );
  const length = Number(request.headers["content-length"] ?? 0);
  if (length > BODY_LIMIT_BYTES)
    throw new EngineError("resource_exhausted", `request body is larger than ${BODY_LIMIT_BYTES} bytes`);
  const bytes = rest.length < length ? await readUntil(socket, rest, length) : rest;
  return { request: withBody(request, bytes.subarray(0, length)), rest: bytes.subarray(length) };
}

function readUntil(socket: Socket, rest: Buffer, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks = [rest];
    let size = rest.length;
    const gone = () => finish(() => reject(new EngineError("canceled", "the client went away")));
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= length) finish(() => resolve(Buffer.concat(chunks)));
    };
    const finish = (settle: () => void) => {
      socket.pause();
      socket.off("data", take).off("end", gone).off("close", gone);
      settle();
    };
    socket.on("data", take).once("end", gone).once("close", gone);
  });
}
