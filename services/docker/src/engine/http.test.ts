import { expect, test } from "bun:test";
import { Connection } from "./connection.ts";
import { formatRequest, readAnswer } from "./http.ts";

/** A connection to a server that sends given pieces and then closes. */
async function connectionWith(pieces: string[]): Promise<{ connection: Connection; stop: () => void }> {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data: () => undefined,
      async open(socket) {
        for (const piece of pieces) {
          socket.write(piece);
          socket.flush();
          await Bun.sleep(1);
        }
        socket.end();
      },
    },
  });
  const connection = await Connection.open({
    name: "test",
    context: "default",
    tcp: { hostname: "127.0.0.1", port: server.port },
  });
  return { connection, stop: () => server.stop(true) };
}

async function bodyOf(pieces: string[], method = "GET"): Promise<{ status: number; body: string }> {
  const { connection, stop } = await connectionWith(pieces);
  try {
    const answer = await readAnswer(connection, method);
    let body = "";
    for await (const part of answer.body) body += part.toString();
    return { status: answer.status, body };
  } finally {
    connection.close();
    stop();
  }
}

test("formatRequest() writes head and body", () => {
  expect(formatRequest("POST", "/x?a=1", { Host: "h" }, Buffer.from("body")).toString()).toBe(
    "POST /x?a=1 HTTP/1.1\r\nHost: h\r\n\r\nbody",
  );
});

test.each<[string, string[], string, string]>([
  ["with a length", ["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 5\r\n\r\nhel", "lo and more"], "GET", "hello"],
  [
    "in chunks",
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r", "\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n"],
    "GET",
    "abcde",
  ],
  ["to the end", ["HTTP/1.1 200 OK\r\n\r\n", "all ", "of it"], "GET", "all of it"],
  ["of HEAD", ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], "HEAD", ""],
  [
    "behind 100 Continue",
    ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    "GET",
    "ok",
  ],
])("readAnswer() reads a body %s", async (_what, pieces, method, body) => {
  expect(await bodyOf(pieces, method)).toEqual({ status: 200, body });
});

test.each([
  ["an end within the head", ["HTTP/1.1 200 OK\r\nA: "], "unexpected EOF"],
  ["an end within the body", ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], "unexpected EOF"],
  [
    "an end within a chunk",
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"],
    "unexpected EOF",
  ],
  ["another protocol", ["SSH-2.0-x\r\n\r\n"], "malformed HTTP response"],
  [
    "a wrong chunk size",
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    "malformed chunked encoding",
  ],
])("readAnswer() fails on %s", async (_what, pieces, message) => {
  await expect(bodyOf(pieces)).rejects.toThrow(message);
});
