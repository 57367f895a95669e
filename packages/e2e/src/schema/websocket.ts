import crypto from "node:crypto";
import { once } from "node:events";
import net from "node:net";

/** What RFC 6455 (1.3) has a server add to a client's key. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

export interface WebsocketAnswer {
  status: number;
  headers: Headers;
  /** Of a refusal; of a websocket what its messages hold, one after the other. */
  bytes: Buffer;
  /** Of the messages, in their order. */
  opcodes: number[];
  /** What of the handshake or the frames is not as the RFC has it. */
  problems: string[];
}

/** Ask for a websocket, and read until the server closes it. */
export async function readWebsocket(socketPath: string, target: string): Promise<WebsocketAnswer> {
  const key = crypto.randomBytes(16).toString("base64");
  const socket = net.connect(socketPath);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "connect");
  socket.write(
    `GET ${target} HTTP/1.1\r\nHost: docker\r\nOrigin: http://docker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  const isWhole = () => {
    const bytes = Buffer.concat(chunks);
    const { status, headers, body } = parseHead(bytes);
    if (status === 0) return false;
    return status !== 101 && body.length >= Number(headers.get("content-length") ?? Number.POSITIVE_INFINITY);
  };
  await new Promise<void>((resolve, reject) => {
    socket.on("data", () => isWhole() && resolve());
    socket.on("close", resolve);
    socket.on("error", reject);
  });
  socket.destroy();
  const { status, headers, body } = parseHead(Buffer.concat(chunks));
  if (status !== 101) return { status, headers, bytes: body, opcodes: [], problems: [] };
  const problems: string[] = [];
  const accept = crypto.createHash("sha1").update(`${key}${GUID}`).digest("base64");
  const wanted = { upgrade: "websocket", connection: "upgrade", "sec-websocket-accept": accept };
  for (const [name, value] of Object.entries(wanted)) {
    const given = headers.get(name) ?? "";
    if (given.toLowerCase() !== value.toLowerCase()) problems.push(`${name} is ${JSON.stringify(given)}`);
  }
  const { opcodes, payloads, rest } = framesOf(body);
  if (rest.length > 0) problems.push(`ends within a frame, or has a masked one: ${rest.toString("hex")}`);
  return { status, headers, bytes: Buffer.concat(payloads), opcodes, problems };
}

function parseHead(bytes: Buffer): { status: number; headers: Headers; body: Buffer } {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return { status: 0, headers: new Headers(), body: bytes };
  const [first = "", ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const headers = new Headers(
    lines.map((line): [string, string] => {
      const [name = "", ...value] = line.split(":");
      return [name, value.join(":").trim()];
    }),
  );
  return { status: Number(first.split(" ")[1]), headers, body: bytes.subarray(end + 4) };
}

/** Whole frames of a server, which must not mask them; a close frame is not among them. */
function framesOf(bytes: Buffer): { opcodes: number[]; payloads: Buffer[]; rest: Buffer } {
  const opcodes: number[] = [];
  const payloads: Buffer[] = [];
  let rest = bytes;
  while (rest.length >= 2) {
    const [first = 0, second = 0] = rest;
    if (second >= 128) break;
    const extended = { 126: 2, 127: 8 }[second] ?? 0;
    if (rest.length < 2 + extended) break;
    const length =
      extended === 0 ? second : extended === 2 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    const end = 2 + extended + length;
    if (rest.length < end) break;
    const opcode = first & 15;
    if (opcode !== 8) {
      opcodes.push(opcode);
      payloads.push(rest.subarray(2 + extended, end));
    }
    rest = rest.subarray(end);
  }
  return { opcodes, payloads, rest };
}
