import type { Connection } from "./connection.ts";

/** The head of an HTTP/1.1 answer, and the way to its body. */
export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: AsyncGenerator<Buffer>;
}

const HEAD_LIMIT_BYTES = 64 << 10;

export function formatRequest(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`), body]);
}

/** Read an answer's head. @throws Error when it is no HTTP */
export async function readAnswer(connection: Connection, method: string): Promise<HttpAnswer> {
  let head: Buffer = Buffer.alloc(0);
  for (;;) {
    const at = head.indexOf("\r\n\r\n");
    if (at >= 0) {
      connection.unread(head.subarray(at + 4));
      const answer = parseHead(head.subarray(0, at).toString("latin1"));
      if (answer.status >= 100 && answer.status < 200 && answer.status !== 101)
        return readAnswer(connection, method);
      return { ...answer, body: bodyOf(connection, method, answer) };
    }
    if (head.length > HEAD_LIMIT_BYTES) throw new Error("the engine's answer has no end of headers");
    const more = await connection.read();
    if (!more) throw new Error(head.length > 0 ? "unexpected EOF" : "EOF");
    head = head.length > 0 ? Buffer.concat([head, more]) : more;
  }
}

function parseHead(text: string): { status: number; headers: Map<string, string> } {
  const [first = "", ...lines] = text.split("\r\n");
  const [, status] = /^HTTP\/1\.[01] (\d{3})/.exec(first) ?? [];
  if (status === undefined) throw new Error(`malformed HTTP response ${JSON.stringify(first.slice(0, 100))}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}

function bodyOf(
  connection: Connection,
  method: string,
  { status, headers }: { status: number; headers: Map<string, string> },
): AsyncGenerator<Buffer> {
  if (status === 101) return untilClose(connection);
  if (method === "HEAD" || status === 204 || status === 304) return sized(connection, 0);
  if (headers.get("transfer-encoding")?.toLowerCase() === "chunked") return chunked(connection);
  const length = headers.get("content-length");
  return length === undefined ? untilClose(connection) : sized(connection, Number(length));
}

async function* untilClose(connection: Connection): AsyncGenerator<Buffer> {
  for (let data = await connection.read(); data; data = await connection.read()) yield data;
}

async function* sized(connection: Connection, length: number): AsyncGenerator<Buffer> {
  for (let left = length; left > 0; ) {
    const data = await connection.read();
    if (!data) throw new Error("unexpected EOF");
    connection.unread(data.subarray(left));
    const part = data.subarray(0, left);
    left -= part.length;
    yield part;
  }
}

async function* chunked(connection: Connection): AsyncGenerator<Buffer> {
  for (;;) {
    const size = Number.parseInt(await readLine(connection), 16);
    if (Number.isNaN(size)) throw new Error("malformed chunked encoding");
    if (size === 0) {
      while ((await readLine(connection)) !== ""); // trailers
      return;
    }
    yield* sized(connection, size);
    await readLine(connection);
  }
}

async function readLine(connection: Connection): Promise<string> {
  let line = Buffer.alloc(0);
  for (;;) {
    const data = await connection.read();
    if (!data) throw new Error("unexpected EOF");
    const end = data.indexOf(10);
    if (end >= 0) {
      connection.unread(data.subarray(end + 1));
      return Buffer.concat([line, data.subarray(0, end)])
        .toString("latin1")
        .replace(/\r$/, "");
    }
    line = Buffer.concat([line, data]);
    if (line.length > HEAD_LIMIT_BYTES) throw new Error("malformed chunked encoding");
  }
}
