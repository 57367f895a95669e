/**
 * Answers per second: `bun packages/dns/test/bench.ts`. A server process of its own, and this process as the client of it, on loopback,
 * with so many queries on their way at a time; the server's own time per answer tells more than the rate when both share few processors.
 */
import { TYPE } from "../src/message.ts";
import { Resolver } from "../src/resolver.ts";
import { DnsServer } from "../src/server.ts";
import { a, growReceiveBuffer, openUpstream, query } from "./lab.ts";

const HOST = "127.0.0.1";
const COUNT = 200_000;
const AT_A_TIME = 256;
const CASES: Record<string, (index: number) => Buffer> = {
  "own name, A": (id) => query("web", TYPE.A, { id }),
  "own name, three addresses, EDNS": (id) =>
    query("db", TYPE.A, { id, edns: { udpBytes: 1232, version: 0, dnssecOk: false } }),
  "own name, AAAA": (id) => query("web", TYPE.AAAA, { id }),
  "address, PTR": (id) => query("2.0.0.10.in-addr.arpa", TYPE.PTR, { id }),
  "other name, kept": (id) => query("a.test", TYPE.A, { id }),
};

if (process.argv[2] === "serve") await serve();
else await main();

async function serve(): Promise<void> {
  const upstream = await openUpstream(({ question }) => ({ answers: [a(question.name, "192.0.2.1", 3600)] }));
  const resolver = new Resolver({
    names: (_, name) => ({ web: ["10.0.0.2"], db: ["10.0.0.3", "10.0.0.4", "10.0.0.5"] })[name],
    pointer: () => "web.front",
    upstreams: () => [upstream.address],
    version: 1,
  });
  const server = new DnsServer(resolver);
  const { port } = await server.listen(HOST, 0);
  process.on("message", () => process.send?.({ cpu: process.cpuUsage(), memory: process.memoryUsage().rss }));
  process.send?.({ port });
}

interface State {
  readonly cpu: { readonly user: number; readonly system: number };
  readonly memory: number;
}

async function main(): Promise<void> {
  const messages: unknown[] = [];
  const waiting: ((message: unknown) => void)[] = [];
  const next = <T>(): Promise<T> =>
    new Promise((resolve) => {
      if (messages.length > 0) resolve(messages.shift() as T);
      else waiting.push(resolve as (message: unknown) => void);
    });
  const server = Bun.spawn([process.execPath, import.meta.path, "serve"], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc: (message) => {
      const give = waiting.shift();
      if (give) give(message);
      else messages.push(message);
    },
  });
  const state = (): Promise<State> => {
    server.send("state");
    return next<State>();
  };
  const { port } = await next<{ port: number }>();
  for (const [title, queryOf] of Object.entries(CASES)) {
    await load(port, 20_000, queryOf);
    const before = await state();
    const { ms, lost } = await load(port, COUNT, queryOf);
    const after = await state();
    const cpuUs = after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system;
    const rate = Math.round((1000 * COUNT) / ms).toLocaleString("en");
    const memory = (after.memory / 1e6).toFixed(0);
    console.log(
      `${title}: ${rate} answers/s, ${(cpuUs / COUNT).toFixed(1)} µs of the server each, ${lost} lost, ${memory} MB`,
    );
  }
  server.kill();
  await server.exited;
}

/** Send queries until all are answered; what has no answer for a second is lost. */
async function load(port: number, count: number, queryOf: (id: number) => Buffer) {
  const prepared = Array.from({ length: 1024 }, (_, id) => queryOf(id));
  const { promise, resolve } = Promise.withResolvers<void>();
  let sent = 0;
  let answered = 0;
  const socket = await Bun.udpSocket({
    connect: { hostname: HOST, port },
    socket: {
      data() {
        answered++;
        if (sent < count) socket.send(prepared[sent++ & 1023] ?? "");
        else if (answered === count) resolve();
      },
    },
  });
  growReceiveBuffer(socket);
  const started = performance.now();
  while (sent < AT_A_TIME) socket.send(prepared[sent++] ?? "");
  let last = 0;
  const timer = setInterval(() => {
    if (answered === last) resolve();
    last = answered;
  }, 1000);
  await promise;
  clearInterval(timer);
  const ms = performance.now() - started;
  socket.close();
  return { ms, lost: count - answered };
}
