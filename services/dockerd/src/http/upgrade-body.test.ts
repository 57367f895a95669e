import { afterAll, expect, test } from "bun:test";
import type { IncomingMessage } from "node:http";
import net from "node:net";
import { takeBody } from "./upgrade-body.ts";

const servers: net.Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

/** Send pieces one after the other, and take a body out of them; its text, and what came after it. */
async function take(pieces: readonly string[], headers: Record<string, string>): Promise<[string, string]> {
  const { promise: accepted, resolve } = Promise.withResolvers<net.Socket>();
  const server = net.createServer((socket) => {
    socket.pause();
    resolve(socket);
  });
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
  const socket = await accepted;
  const [first = "", ...others] = pieces;
  void (async () => {
    for (const piece of others) {
      client.write(piece);
      await Bun.sleep(5);
    }
  })();
  try {
    const request = { headers, method: "POST", url: "/", socket, httpVersion: "1.1" };
    const taken = await takeBody(request as unknown as IncomingMessage, socket, Buffer.from(first));
    const chunks: Buffer[] = [];
    for await (const chunk of taken.request) chunks.push(chunk as Buffer);
    return [Buffer.concat(chunks).toString(), taken.rest.toString()];
  } finally {
    client.destroy();
    socket.destroy();
  }
}

const chunked = { "transfer-encoding": "chunked" };

test("takeBody() puts chunks together, however they arrive, and leaves what comes after them", async () => {
  const whole = '6;a=b\r\n{"a":1\r\n1\r\n}\r\n0\r\n\r\nstdin';
  expect(await take([whole], chunked)).toEqual(['{"a":1}', "stdin"]);
  const [body] = await take([...whole.slice(0, -5)].concat(""), chunked);
  expect(body).toBe('{"a":1}');
  expect(await take(["0\r\nX: y\r\n\r\n"], chunked)).toEqual(["", ""]);
  expect(await take(["ab", "cd"], { "content-length": "3" })).toEqual(["abc", "d"]);
});

test.each([
  ["no number", "x\r\n", "no size of a chunk"],
  ["a negative one", "-1\r\n", "no size of a chunk"],
  ["more than was said", "1\r\nabc\r\n", "a chunk without its end"],
  ["more than may be", "ffffffff\r\n", "request body is larger than"],
  ["an endless line", "a".repeat(9000), "a line is too long"],
])("takeBody() refuses %s", async (_, text, why) => {
  await expect(take([text], chunked)).rejects.toThrow(why);
});

test("takeBody() refuses codings that nobody sends", async () => {
  await expect(take([""], { "transfer-encoding": "gzip, chunked" })).rejects.toThrow(
    "unsupported transfer encoding",
  );
});
