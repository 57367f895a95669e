import { expect, test } from "bun:test";
import { once } from "node:events";
import net from "node:net";
import { buffer, text } from "node:stream/consumers";
import tls from "node:tls";
import { createLogger } from "@longshore/log";
import { eventually, freePort, makeCertificates, tempDir } from "@longshore/testkit";
import { z } from "zod";
import { Authorizer } from "../authz/authorizer.ts";
import { readTls } from "../config/tls.ts";
import { serveMetrics } from "../metrics/serve-metrics.ts";
import { ApiServer, type Route, type ServerLimits } from "./server.ts";

const LISTENERS = { onCall: () => () => {}, onDone: () => {} };
const ROUTES: Route[] = [
  { method: "GET", path: "/there", handler: (call) => call.text(200, "there") },
  {
    method: "POST",
    path: "/json",
    handler: async (call) => call.json(200, await call.body(z.record(z.string(), z.unknown()))),
  },
];
const GET = "GET /there HTTP/1.1\r\nHost: x\r\n\r\n";

interface Listening extends Disposable {
  /** What it has logged. */
  readonly lines: string[];
  readonly plain: number;
  readonly secure: number;
  connect(to: "plain" | "secure"): net.Socket;
}

/** A server on two TCP ports, one of which has TLS. */
async function listen(limits: Partial<ServerLimits> = {}): Promise<Listening> {
  using scope = new DisposableStack();
  const dir = scope.use(tempDir());
  const { ca, server: own, client } = makeCertificates(dir.path);
  const lines: string[] = [];
  const log = createLogger("test", { stream: { write: (line) => lines.push(line) } });
  const server = new ApiServer(log, new Authorizer(), LISTENERS, undefined, limits);
  scope.defer(() => server.close());
  server.add(ROUTES);
  const [plain, secure] = [await freePort(), await freePort()];
  const [keys, clientKeys] = [readTls({ ...own, ca }), readTls({ ...client, ca })];
  for (const [port, serverKeys] of [
    [plain, undefined],
    [secure, keys],
  ] as const)
    await server.listen([{ kind: "tcp", hostname: "127.0.0.1", port }], {
      tls: serverKeys,
      group: undefined,
      checkAddress() {},
    });
  const moved = scope.move();
  return {
    lines,
    plain,
    secure,
    connect(to) {
      const at = { host: "127.0.0.1", port: to === "plain" ? plain : secure };
      const socket =
        to === "plain"
          ? net.connect(at)
          : tls.connect({ ...at, ...clientKeys, checkServerIdentity: () => undefined });
      return socket.on("error", () => {});
    },
    [Symbol.dispose]: () => moved.dispose(),
  };
}

test("ApiServer ends the connection of a body over the limit, though its end has not come", async () => {
  using listening = await listen();
  const head = "POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
  const part = `100000\r\n${"x".repeat(1 << 20)}\r\n`;
  for (const to of ["plain", "secure"] as const) {
    const chunked = listening.connect(to);
    chunked.write(`${head}Transfer-Encoding: chunked\r\n\r\n${part.repeat(5)}`);
    expect(await text(chunked)).toMatch(/^HTTP\/1.1 413 .*request body is larger than 4194304 bytes/s);
    const announced = listening.connect(to);
    announced.write(`${head}Content-Length: ${2 ** 40}\r\n\r\n{`);
    expect(await text(announced)).toMatch(/^HTTP\/1.1 413 .*request body is larger than 4194304 bytes/s);
  }
});

/** Whether the server closes a new connection at once. */
async function isClosed(socket: net.Socket): Promise<boolean> {
  const closed = buffer(socket).then(
    () => true,
    () => true,
  );
  const isSo = await Promise.race([closed, Bun.sleep(1000).then(() => false)]);
  socket.destroy();
  return isSo;
}

test("ApiServer closes connections of a TCP socket that are too many, also silent ones", async () => {
  const most = 3;
  using listening = await listen({ tcpConnections: most });
  for (const to of ["plain", "secure"] as const) {
    const connect = async () => {
      const socket = listening.connect(to);
      await once(socket, to === "plain" ? "connect" : "secureConnect");
      return socket;
    };
    const talking = await connect();
    const silent = [1, 2].map(() => net.connect(listening[to], "127.0.0.1"));
    const logged = listening.lines.length;
    expect(await isClosed(listening.connect(to))).toBe(true);
    expect(await isClosed(listening.connect(to))).toBe(true);
    expect(listening.lines.length - logged).toBe(1);
    talking.write(GET);
    expect(String(await once(talking, "data"))).toContain("200 OK");
    for (const socket of silent) socket.destroy();
    await eventually(
      async () => {
        const socket = listening.connect(to);
        socket.write(GET.replace("Host: x", "Host: x\r\nConnection: close"));
        return (await text(socket).catch(() => "")).endsWith("there");
      },
      { what: "an answer once there is a place" },
    );
    talking.destroy();
  }
});

test("ApiServer waits less long for a TLS handshake than for a request", async () => {
  using listening = await listen({ handshakeTimeoutMs: 200 });
  const idle = listening.connect("secure");
  await once(idle, "secureConnect");
  expect(await buffer(net.connect(listening.secure, "127.0.0.1"))).toHaveLength(0);
  idle.write(GET);
  expect(String(await once(idle, "data"))).toContain("200 OK");
  idle.destroy();
});

test("serveMetrics() ends connections that take long, and those that are too many", async () => {
  const port = await freePort();
  const [connections, connectionMs] = [4, 1500];
  const log = createLogger("test", { stream: { write() {} } });
  using _ = await serveMetrics(`127.0.0.1:${port}`, () => [], log, { connections, connectionMs });
  const connect = () => net.connect(port, "127.0.0.1").on("error", () => {});
  const asked = connect();
  asked.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(await text(asked)).toStartWith("HTTP/1.1 200 OK");
  const head = "POST / HTTP/1.1\r\nHost: x\r\n";
  const slow = ["", "", "GET /met", head].map(async (bytes) => {
    const socket = connect();
    socket.write(bytes);
    await buffer(socket);
  });
  expect(await isClosed(connect())).toBe(true);
  await Promise.all(slow);
  const again = connect();
  again.write(`${head}Content-Length: 9\r\n\r\n`);
  expect(await text(again)).toStartWith("HTTP/1.1 404");
});
