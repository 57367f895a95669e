import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { EngineError } from "@longshore/errors";
import { BODY_LIMIT_BYTES } from "./body.ts";

/** Of the size of a chunk, or a trailer. */
const LINE_LIMIT_BYTES = 8192;

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
 * @throws EngineError `invalid_argument` for a body that isn't framed as HTTP/1.1 has it, `resource_exhausted` for one over the limit, `canceled` when the
 *   client goes away
 */
export async function takeBody(
  request: IncomingMessage,
  socket: Socket,
  rest: Buffer,
): Promise<{ request: IncomingMessage; rest: Buffer }> {
  if (request.headers["transfer-encoding"] !== undefined) {
    const { body, rest: after } = await takeChunks(request.headers["transfer-encoding"], socket, rest);
    return { request: withBody(request, body), rest: after };
  }
  const length = Number(request.headers["content-length"] ?? 0);
  if (length > BODY_LIMIT_BYTES)
    throw new EngineError("resource_exhausted", `request body is larger than ${BODY_LIMIT_BYTES} bytes`);
  const bytes = rest.length < length ? await readUntil(socket, rest, length) : rest;
  return { request: withBody(request, bytes.subarray(0, length)), rest: bytes.subarray(length) };
}

/** A body in chunks (RFC 9112, section 7.1). */
async function takeChunks(
  coding: string,
  socket: Socket,
  rest: Buffer,
): Promise<{ body: Buffer; rest: Buffer }> {
  const malformed = (why: string) =>
    new EngineError("invalid_argument", `malformed chunked encoding: ${why}`);
  if (coding.trim().toLowerCase() !== "chunked")
    throw new EngineError("invalid_argument", `unsupported transfer encoding: ${JSON.stringify(coding)}`);
  let left = rest;
  const more = async (length: number) => {
    if (left.length < length) left = await readUntil(socket, left, length);
  };
  const line = async () => {
    for (let end = left.indexOf("\r\n"); ; end = left.indexOf("\r\n")) {
      if (end >= 0) {
        const text = left.toString("latin1", 0, end);
        left = left.subarray(end + 2);
        return text;
      }
      if (left.length > LINE_LIMIT_BYTES) throw malformed("a line is too long");
      await more(left.length + 1);
    }
  };
  const chunks: Buffer[] = [];
  for (let size = 0; ; ) {
    const [digits = ""] = (await line()).split(";");
    if (!/^[0-9a-f]{1,8}$/i.test(digits.trim()))
      throw malformed(`no size of a chunk: ${JSON.stringify(digits)}`);
    const length = Number.parseInt(digits, 16);
    size += length;
    if (size > BODY_LIMIT_BYTES)
      throw new EngineError("resource_exhausted", `request body is larger than ${BODY_LIMIT_BYTES} bytes`);
    if (length === 0) break;
    await more(length + 2);
    if (left.toString("latin1", length, length + 2) !== "\r\n") throw malformed("a chunk without its end");
    chunks.push(left.subarray(0, length));
    left = left.subarray(length + 2);
  }
  while ((await line()) !== ""); // trailers say nothing that anybody here asks for
  return { body: Buffer.concat(chunks), rest: left };
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
    socket.resume(); // it was paused when the last of it was read
  });
}
