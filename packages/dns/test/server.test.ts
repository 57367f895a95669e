import { expect, test } from "bun:test";
import fs from "node:fs";
import { frame } from "../src/framing.ts";
import { FLAG, RCODE, readMessage, TYPE } from "../src/message.ts";
import { Resolver } from "../src/resolver.ts";
import { DnsServer, type ServerOptions } from "../src/server.ts";
import { a, answersOf, askTcp, askUdp, growReceiveBuffer, openUpstream, query, record } from "./lab.ts";

const HOST = "127.0.0.1";

/** A server that knows `web` and, of each client, `me`. */
async function open(options: ServerOptions = {}, upstreams: readonly string[] = []) {
  const resolver = new Resolver({
    names: (client, name) => ({ web: ["10.0.0.2"], me: [client] })[name],
    pointer: () => undefined,
    upstreams: () => upstreams,
  });
  const server = new DnsServer(resolver, options);
  const { port } = await server.listen(HOST, 0);
  return {
    ...{ server, resolver, port },
    [Symbol.dispose]() {
      server[Symbol.dispose]();
      resolver[Symbol.dispose]();
    },
  };
}

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not so after ${timeoutMs} ms: ${condition}`);
    await Bun.sleep(5);
  }
}

/** A TCP connection that tells when it ended. */
async function connect(port: number, hostname = HOST) {
  const ended = Promise.withResolvers<void>();
  const received: Buffer[] = [];
  const socket = await Bun.connect({
    ...{ hostname, port },
    socket: {
      data: (_, bytes) => void received.push(Buffer.from(bytes)),
      close: () => ended.resolve(),
      error: () => ended.resolve(),
    },
  });
  return { socket, received, ended: ended.promise };
}

test("several listeners come and go while others serve", async () => {
  using lab = await open();
  const second = await lab.server.listen("127.0.0.2", 0);
  expect(answersOf(await askUdp(HOST, lab.port, query("web")))).toEqual(["10.0.0.2"]);
  expect(answersOf(await askUdp("127.0.0.2", second.port, query("me")))).toEqual([HOST]);
  expect(lab.server.addresses).toHaveLength(2);
  const kept = await connect(second.port, "127.0.0.2");
  expect(lab.server.remove("127.0.0.2", second.port)).toBe(true);
  expect(lab.server.remove("127.0.0.2", second.port)).toBe(false);
  await kept.ended;
  expect(await askUdp("127.0.0.2", second.port, query("web"), 500)).toBeUndefined();
  expect(answersOf(await askUdp(HOST, lab.port, query("web")))).toEqual(["10.0.0.2"]);
  // The address is free again.
  await lab.server.listen("127.0.0.2", second.port);
  expect(answersOf(await askUdp("127.0.0.2", second.port, query("web")))).toEqual(["10.0.0.2"]);
});

test("an address that is taken, or not of this host, is refused and leaves nothing", async () => {
  using lab = await open();
  expect(lab.server.listen(HOST, lab.port)).rejects.toMatchObject({ code: "EADDRINUSE" });
  expect(lab.server.listen("192.0.2.1", 5353)).rejects.toThrow();
  const taken = await Bun.udpSocket({ hostname: "127.0.0.3", port: 0, socket: { data() {} } });
  expect(lab.server.listen("127.0.0.3", taken.port)).rejects.toThrow();
  await until(async () => {
    try {
      (await connect(taken.port, "127.0.0.3")).socket.terminate();
      return false;
    } catch {
      return true;
    }
  });
  taken.close();
  expect(lab.server.addresses).toHaveLength(1);
});

test("TCP takes several queries on one connection, also in pieces, and answers what UDP can't hold", async () => {
  const texts = Array.from({ length: 200 }, (_, index) =>
    record("big.test", TYPE.TXT, Buffer.concat([Buffer.of(254), Buffer.alloc(254, index)])),
  );
  using upstream = await openUpstream(({ transport }) =>
    transport === "udp" ? { flags: FLAG.RESPONSE | FLAG.TRUNCATED } : { answers: texts },
  );
  using lab = await open({}, [upstream.address]);
  const queries = Array.from({ length: 100 }, (_, id) =>
    query(id % 2 ? "web" : "big.test", id % 2 ? TYPE.A : TYPE.TXT, { id }),
  );
  const answers = await askTcp(HOST, lab.port, queries);
  expect(answers.map(({ id }) => id).toSorted((one, other) => one - other)).toEqual(
    queries.map((_, id) => id),
  );
  for (const { id, answers: found } of answers) expect(found).toHaveLength(id % 2 ? 1 : 200);
  const cut = await askUdp(HOST, lab.port, query("big.test", TYPE.TXT));
  expect((cut?.flags ?? 0) & FLAG.TRUNCATED).toBe(FLAG.TRUNCATED);

  const { socket, received } = await connect(lab.port);
  for (const byte of frame(query("web"))) {
    socket.write(Uint8Array.of(byte));
    await Bun.sleep(0);
  }
  await until(() => received.length > 0);
  socket.terminate();
});

test("connections end when they are idle, too many, or don't take their answers", async () => {
  using lab = await open({ idleSeconds: 1, maxConnections: 12, maxConnectionsOfClient: 10 });
  const several = await Promise.all(Array.from({ length: 10 }, () => connect(lab.port)));
  const beyond = await connect(lab.port);
  await beyond.ended;
  await Promise.all(several.map(({ ended }) => ended));
  // Their places are free again.
  expect(await askTcp(HOST, lab.port, [query("web")])).toHaveLength(1);

  const greedy = await connect(lab.port);
  greedy.socket.pause();
  const flood = Buffer.concat(Array.from({ length: 2000 }, () => frame(query("web"))));
  let unsent = flood;
  await until(() => lab.server.connections === 1);
  await until(() => {
    unsent = unsent.subarray(Math.max(0, greedy.socket.write(unsent)));
    if (unsent.length === 0) unsent = flood;
    return lab.server.connections === 0;
  });
  expect(await askTcp(HOST, lab.port, [query("web")])).toHaveLength(1);
});

test("garbage by UDP and TCP neither ends the server nor is it answered wrongly", async () => {
  using lab = await open();
  const garbage = Array.from({ length: 200 }, () =>
    crypto.getRandomValues(new Uint8Array(1 + Math.floor(Math.random() * 100))),
  );
  const socket = await Bun.udpSocket({ connect: { hostname: HOST, port: lab.port }, socket: { data() {} } });
  for (const bytes of garbage) socket.send(bytes);
  socket.close();
  const tcp = await connect(lab.port);
  tcp.socket.write(Buffer.concat(garbage));
  tcp.socket.end();
  expect(answersOf(await askUdp(HOST, lab.port, query("web")))).toEqual(["10.0.0.2"]);
  expect(answersOf((await askTcp(HOST, lab.port, [query("web")]))[0])).toEqual(["10.0.0.2"]);
});

/** Ask `count` questions from one socket, so many at a time; the ids of the answers, and how long it took. */
async function load(port: number, count: number, atATime: number, nameOf: (index: number) => string) {
  const answered = new Set<number>();
  const { promise, resolve } = Promise.withResolvers<void>();
  let next = 0;
  const socket = await Bun.udpSocket({
    connect: { hostname: HOST, port },
    socket: {
      data(_, bytes) {
        // NOERROR, and one answer.
        if ((bytes.readUInt16BE(2) & 0xf) === RCODE.NOERROR && bytes.readUInt16BE(6) === 1)
          answered.add(bytes.readUInt16BE(0));
        if (next < count) socket.send(query(nameOf(next), TYPE.A, { id: next++ }));
        else if (answered.size === count) resolve();
      },
    },
  });
  // What the server sends at once must find room here.
  growReceiveBuffer(socket);
  const started = performance.now();
  while (next < Math.min(count, atATime)) socket.send(query(nameOf(next), TYPE.A, { id: next++ }));
  const timer = setTimeout(resolve, 20_000);
  await promise;
  clearTimeout(timer);
  socket.close();
  return { answered: answered.size, ms: performance.now() - started };
}

test("what is asked again and again is answered without a look at it, until names change", async () => {
  const names = new Map([["web", ["10.0.0.2"]]]);
  let version = 0;
  let looks = 0;
  using resolver = new Resolver({
    names: (_, name) => {
      looks++;
      return names.get(name);
    },
    pointer: () => undefined,
    upstreams: () => [],
    get version() {
      return version;
    },
  });
  using server = new DnsServer(resolver);
  const { port } = await server.listen(HOST, 0);
  const everyone = await server.listen("127.0.0.2", 0, { client: "somebody" });
  // All of them are there before the server looks.
  const burst = async (hostname: string, at: number, name: string) => {
    const answers = new Map<number, string>();
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = await Bun.udpSocket({
      connect: { hostname, port: at },
      socket: {
        data(_, bytes) {
          const message = readMessage(bytes);
          answers.set(message?.id ?? -1, String(answersOf(message)));
          if (answers.size === 1000) resolve();
        },
      },
    });
    growReceiveBuffer(socket);
    for (let id = 0; id < 1000; id++) socket.send(query(name, TYPE.A, { id }));
    await promise;
    socket.close();
    return [...new Set(answers.values())].sort();
  };
  expect(await burst(HOST, port, "web")).toEqual(["10.0.0.2"]);
  expect(looks).toBeLessThan(500);
  expect(await burst("127.0.0.2", everyone.port, "web")).toEqual(["10.0.0.2"]);
  names.set("web", ["10.0.0.3"]);
  version++;
  expect(await burst(HOST, port, "web")).toEqual(["10.0.0.3"]);
  expect(await burst("127.0.0.2", everyone.port, "web")).toEqual(["10.0.0.3"]);
  // The case of a name is the client's.
  expect(await burst(HOST, port, "WEB")).toEqual(["10.0.0.3"]);
  // Of several addresses each has its turn.
  names.set("web", ["10.0.0.3", "10.0.0.4"]);
  version++;
  expect(await burst(HOST, port, "web")).toEqual(["10.0.0.3,10.0.0.4", "10.0.0.4,10.0.0.3"]);
  names.delete("web");
  version++;
  expect(await burst(HOST, port, "web")).toEqual([""]);
});

test("clients that ask the same get each its own answer", async () => {
  using resolver = new Resolver({
    names: (client, name) => (name === "me" ? [client] : undefined),
    pointer: () => undefined,
    upstreams: () => [],
    version: 1,
  });
  using server = new DnsServer(resolver);
  const { port } = await server.listen("0.0.0.0", 0);
  const heard = new Map<string, string[]>();
  const clients = await Promise.all(
    ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(async (hostname) => {
      const answers: string[] = [];
      heard.set(hostname, answers);
      const data = (_: unknown, bytes: Buffer) => void answers.push(...(answersOf(readMessage(bytes)) ?? []));
      return Bun.udpSocket({ hostname, port: 0, socket: { data } });
    }),
  );
  for (let round = 0; round < 100; round++)
    for (const client of clients) client.send(query("me"), port, HOST);
  await until(() => [...heard.values()].every((answers) => answers.length === 100));
  for (const [client, answers] of heard) expect(new Set(answers)).toEqual(new Set([client]));
  for (const client of clients) client.close();
});

test("a client of its own listener that asks for more than is answered leaves the others their share", async () => {
  const release = Promise.withResolvers<void>();
  using upstream = await openUpstream(async ({ question }) => {
    if (question.name.startsWith("slow")) await release.promise;
    return { answers: [a(question.name, "192.0.2.1")] };
  });
  using lab = await open({ maxWaiting: 6, maxWaitingOfClient: 5 }, [upstream.address]);
  const [greedy, other] = [
    await lab.server.listen(HOST, 0, { client: "greedy" }),
    await lab.server.listen(HOST, 0, { client: "other" }),
  ];
  let answered = 0;
  const socket = await Bun.udpSocket({
    connect: { hostname: HOST, port: greedy.port },
    socket: { data: () => void answered++ },
  });
  for (let number = 0; number < 50; number++) socket.send(query(`slow${number}.test`));
  await until(() => upstream.asked.length === 5);
  const ask = async (name: string) => answersOf(await askUdp(HOST, other.port, query(name)));
  expect([await ask("web"), await ask("quick.test")]).toEqual([["10.0.0.2"], ["192.0.2.1"]]);
  release.resolve();
  await until(() => answered === 5);
  socket.send(query("later.test"));
  await until(() => answered === 6);
  socket.close();
});

test("of 10,000 queries none is lost, names of ours and names of others, nor is anything left behind", async () => {
  using upstream = await openUpstream(({ question }) => ({ answers: [a(question.name, "192.0.2.1")] }));
  using lab = await open({}, [upstream.address]);
  const descriptors = () => fs.readdirSync("/proc/self/fd").length;
  const before = descriptors();
  expect(await load(lab.port, 10_000, 500, () => "web")).toMatchObject({ answered: 10_000 });
  // A burst of all at once, while the server can't look.
  expect(await load(lab.port, 2_000, 2_000, () => "web")).toMatchObject({ answered: 2_000 });
  expect(await load(lab.port, 10_000, 500, (index) => `n${index}.test`)).toMatchObject({ answered: 10_000 });
  expect(upstream.asked).toHaveLength(10_000);
  expect(lab.resolver.cached.entries).toBeLessThanOrEqual(10_000);
  expect(lab.resolver.cached.bytes).toBeLessThanOrEqual(4 * 1024 * 1024);
  await until(() => descriptors() <= before);
}, 60_000);

/** A program that sends one query as fast as it can, until it is ended; by TCP on 32 connections, whose answers it reads. */
const FLOODS = {
  udp: `socket(my $s, PF_INET, SOCK_DGRAM, 0); connect($s, $to);
    while (1) { send($s, $query, 0) }`,
  tcp: `my ($in, @all) = (""); my $many = (pack("n", length $query) . $query) x 200;
    for (1..32) { socket(my $s, PF_INET, SOCK_STREAM, 0); connect($s, $to) or die; vec($in, fileno($s), 1) = 1; push @all, $s }
    while (1) { for my $s (@all) { send($s, $many, MSG_DONTWAIT); 1 while sysread_now($s) } }
    sub sysread_now { my $r = ""; vec($r, fileno($_[0]), 1) = 1; select($r, undef, undef, 0) and sysread($_[0], my $b, 65536) }`,
};

test.each(Object.entries(FLOODS))(
  "while a client sends more by %s than can be answered, others and the rest of the process have their turn",
  async (_, flood) => {
    using lab = await open();
    const flooded = await lab.server.listen(HOST, 0, { client: "flooding" });
    const answered = async () => answersOf(await askUdp(HOST, lab.port, query("web")));
    const flooding = Array.from({ length: 2 }, () =>
      Bun.spawn([
        "perl",
        "-MSocket",
        "-e",
        `$SIG{PIPE} = "IGNORE"; my $to = sockaddr_in($ARGV[0], inet_aton("127.0.0.1"));
         my $query = pack("n6", 1, 0x100, 1, 0, 0, 0) . "\\3web\\0\\0\\1\\0\\1"; print "x"; close(STDOUT); ${flood}`,
        String(flooded.port),
      ]),
    );
    try {
      for (const { stdout } of flooding) await stdout.getReader().read();
      const took: number[] = [];
      for (let round = 0; round < 100; round++) {
        const start = performance.now();
        await Bun.sleep(1);
        expect(await answered()).toEqual(["10.0.0.2"]);
        took.push(performance.now() - start);
      }
      // Starved, the process does nothing at all until the flood ends.
      expect(took.sort((a, b) => a - b)[50]).toBeLessThan(100);
    } finally {
      for (const one of flooding) one.kill("SIGKILL");
    }
    await until(() => lab.server.connections === 0);
    await until(async () => (await askUdp(HOST, flooded.port, query("web"), 200)) !== undefined);
    expect(lab.server.remove(HOST, flooded.port, { client: "flooding" })).toBe(true);
  },
  30_000,
);
