import { expect, test } from "bun:test";
import { once } from "node:events";
import fs from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import tls from "node:tls";
import { createLogger } from "@longshore/log";
import { eventually, freePort, makeCertificates, tempDir } from "@longshore/testkit";
import { Authorizer } from "../authz/authorizer.ts";
import { API_VERSION } from "./api-version.ts";
import { ApiServer, type Route } from "./server.ts";

async function* withoutEnd(): AsyncGenerator<Buffer> {
  for (;;) {
    yield Buffer.alloc(256 << 10, "x");
    await Promise.resolve();
  }
}

const LISTENERS = { onCall: () => () => {}, onDone: () => {} };

/** @returns its socket */
async function listen(server: ApiServer, directory: string, routes: Route[]): Promise<string> {
  server.add(routes);
  const unix = path.join(directory, "sock");
  await server.listen([{ kind: "unix", path: unix }], {
    tls: undefined,
    group: undefined,
    checkAddress() {},
  });
  return unix;
}

test("ApiServer logs what fails, but not that a client went away before it had read all", async () => {
  using dir = tempDir();
  const lines: string[] = [];
  const log = createLogger("test", { stream: { write: (line) => lines.push(line) } });
  const server = new ApiServer(log, new Authorizer(), LISTENERS);
  const ended = Promise.withResolvers<unknown>();
  const routes: Route[] = [
    {
      method: "GET",
      path: "/long",
      handler: async (call) => {
        try {
          await call.send("text/plain", withoutEnd());
        } catch (error) {
          ended.resolve(error);
          throw error;
        }
      },
    },
    { method: "GET", path: "/broken", handler: () => Promise.reject(new Error("a bug")) },
  ];
  const unix = await listen(server, dir.path, routes);
  const abort = new AbortController();
  const { body } = await fetch("http://docker/long", { unix, signal: abort.signal });
  await body?.getReader().read();
  abort.abort();
  expect(await ended.promise).toBeInstanceOf(Error);
  expect((await fetch("http://docker/broken", { unix })).status).toBe(500);
  await eventually(() => lines.length > 0, { what: "a line of the log" });
  expect(lines.map((line) => JSON.parse(line).url)).toEqual(["/broken"]);
  server.close();
});

/** What comes back until the server ends the connection. */
async function answerTo(unix: string, bytes: string): Promise<Buffer> {
  const socket = net.connect(unix);
  socket.write(bytes);
  return buffer(socket);
}

test("ApiServer refuses what is no request, and HTTP/2 without an upgrade in its own words", async () => {
  using dir = tempDir();
  const server = new ApiServer(createLogger("test"), new Authorizer(), LISTENERS);
  const unix = await listen(server, dir.path, []);
  expect((await answerTo(unix, "nonsense\r\n\r\n")).toString()).toStartWith("HTTP/1.1 400 Bad Request\r\n");
  const header = `X: ${"x".repeat(1 << 20)}`;
  const tooLong = await answerTo(unix, `GET / HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n`);
  expect(tooLong.toString()).toStartWith("HTTP/1.1 431 ");
  // Empty settings, then GOAWAY with the reason HTTP_1_1_REQUIRED.
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
  expect((await answerTo(unix, preface)).toString("hex")).toBe(
    "000000040000000000" + "000008070000000000" + "000000000000000d",
  );
  const session = http2.connect("http://docker", { createConnection: () => net.connect(unix) });
  session.on("error", () => {});
  const [reason] = await once(session, "goaway");
  expect(reason).toBe(http2.constants.NGHTTP2_HTTP_1_1_REQUIRED);
  session.destroy();
  server.close();
});

test("ApiServer refuses versions before the oldest that it is told to serve; OPTIONS is answered everywhere", async () => {
  using dir = tempDir();
  const server = new ApiServer(createLogger("test"), new Authorizer(), LISTENERS, "1.44");
  const routes: Route[] = [
    { method: "GET", path: "/there", handler: (call) => call.text(200, call.version) },
  ];
  const unix = await listen(server, dir.path, routes);
  const ask = (url: string, method = "GET") => fetch(`http://docker${url}`, { unix, method });
  expect(await (await ask("/v1.44/there")).text()).toBe("1.44");
  expect(await (await ask("/there")).text()).toBe(API_VERSION);
  const refused = await ask("/v1.43/there");
  expect(refused.status).toBe(400);
  expect(((await refused.json()) as { message: string }).message).toBe(
    "client version 1.43 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version",
  );
  const tooOld = await ask("/v1.23/there");
  expect(tooOld.headers.get("content-type")).toStartWith("text/plain");
  expect(await tooOld.text()).toStartWith("client version 1.23 is too old. Minimum");
  for (const url of ["/there", "/v1.50/there", "/nowhere/at/all"]) {
    const options = await ask(url, "OPTIONS");
    expect([options.status, await options.text()]).toEqual([200, ""]);
  }
  server.close();
});

test("ApiServer ends connections without a complete head in time, also with TLS", async () => {
  using dir = tempDir();
  const headTimeoutMs = 500;
  const log = createLogger("test");
  const server = new ApiServer(log, new Authorizer(), LISTENERS, undefined, {
    headTimeoutMs,
    handshakeTimeoutMs: headTimeoutMs,
  });
  const routes: Route[] = [
    {
      method: "POST",
      path: "/slow",
      handler: async (call) => {
        const size = (await buffer(call.request)).length;
        await Bun.sleep(headTimeoutMs * 3);
        call.text(200, `${size} bytes`);
      },
    },
    {
      method: "POST",
      path: "/hijack",
      handler: async (call) => {
        const { output } = call.hijack("application/octet-stream");
        await Bun.sleep(headTimeoutMs * 3);
        output.end("still here");
      },
    },
  ];
  const unix = await listen(server, dir.path, routes);
  const { ca, server: own, client } = makeCertificates(dir.path);
  const read = (file: string) => fs.readFileSync(file);
  const port = await freePort();
  await server.listen([{ kind: "tcp", hostname: "127.0.0.1", port }], {
    tls: {
      ca: read(ca),
      cert: read(own.cert),
      key: read(own.key),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
    },
    group: undefined,
    checkAddress() {},
  });
  const keys = { ca: read(ca), cert: read(client.cert), key: read(client.key) };
  const connections = [
    () => net.connect(unix),
    () => tls.connect({ host: "127.0.0.1", port, ...keys, checkServerIdentity: () => undefined }),
  ];
  const check = async (connect: () => net.Socket) => {
    const until = async (...parts: string[]) => {
      const socket = connect().on("error", () => {});
      const answer = buffer(socket).catch(() => Buffer.from("reset"));
      for (const part of parts) {
        socket.write(part);
        await Bun.sleep(headTimeoutMs * 3);
      }
      return (await answer).toString();
    };
    const head = "POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";
    const upgrade = "POST /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    const [silent, halfway, again, slow, hijacked] = await Promise.all([
      until(),
      until("POST /sl"),
      until(head.replace("close", "keep-alive"), "body", "POST /sl"),
      until(head, "bo", "dy"),
      until(upgrade),
    ]);
    expect([silent, halfway]).toEqual(["", ""]);
    expect(again.match(/HTTP\/1.1/g)).toHaveLength(1);
    expect(slow).toEndWith("4 bytes");
    expect(hijacked).toEndWith("still here");
  };
  await Promise.all(connections.map(check));
  expect(await buffer(net.connect(port, "127.0.0.1"))).toHaveLength(0); // no handshake
  server.close();
});
