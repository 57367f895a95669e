import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import {
  ADDRESS_LOCAL,
  addBaseChain,
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  CT_STATUS_DNAT,
  deleteElements,
  deleteSet,
  deleteTable,
  flushChain,
  flushSet,
  NftablesSocket,
  type NftExpression,
  nftMap,
  nftSet,
} from "../src/index.ts";
import { addNeighbour, address, type Neighbour, testInPrivateNetwork } from "../src/testing.ts";

const TABLE = { family: "inet", name: "nat_test" } as const;
const PORTS = nftMap("ports", ["inet_proto", "inet_service"], ["ipv4_addr", "inet_service"]);
const ADDRESS_PORTS = nftMap(
  "address_ports",
  ["ipv4_addr", "inet_proto", "inet_service"],
  ["ipv4_addr", "inet_service"],
);
const OPEN_LINKS = nftSet("open_links", ["ifname"]);
const TCP = 6;
const UDP = 17;

testInPrivateNetwork(import.meta.path, "nftables translates traffic between network namespaces", () => {
  let client: Neighbour;
  let server: Neighbour;
  let nft: NftablesSocket;
  const all = new DisposableStack();

  beforeAll(() => {
    client = all.use(addNeighbour("to-client", "10.0.0.1", "10.0.0.2"));
    server = all.use(addNeighbour("to-server", "10.0.1.1", "10.0.1.2"));
    nft = all.use(new NftablesSocket());
    fs.writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  });
  afterAll(() => all.dispose());

  const word = (number: number): Uint8Array => new Uint8Array(Uint32Array.of(number).buffer);
  const ipv4: NftExpression[] = [
    { is: "meta", key: "nfproto" },
    { is: "compare", equal: true, value: Uint8Array.of(2) },
  ];
  const protocolAndPort = (into: number): NftExpression[] => [
    { is: "meta", key: "l4proto", into },
    { is: "payload", header: "transport", offset: 2, length: 2, into: into + 1 },
  ];
  const toMapped: NftExpression = { is: "dnat", family: "ip", address: 8, port: 9 };

  /** What publishing of ports needs: only what was translated is forwarded. */
  function publish(...elements: Parameters<typeof nft.commit>[0]): void {
    nft.commit([
      addTable(TABLE),
      deleteTable(TABLE),
      addTable(TABLE),
      ...[PORTS, ADDRESS_PORTS, OPEN_LINKS].map((set, id) => addSet(TABLE, set, id + 1)),
      ...elements,
      addChain(TABLE, "published"),
      addRule(TABLE, "published", [
        ...ipv4,
        { is: "payload", offset: 16, length: 4 },
        ...protocolAndPort(1),
        { is: "map", map: ADDRESS_PORTS.name, into: 8 },
        toMapped,
      ]),
      addRule(TABLE, "published", [
        ...ipv4,
        ...protocolAndPort(0),
        { is: "map", map: PORTS.name, into: 8 },
        toMapped,
      ]),
      ...(["prerouting", "output"] as const).flatMap((hook) => [
        addBaseChain(TABLE, { name: hook, type: "nat", hook, priority: -100, policy: "accept" }),
        addRule(TABLE, hook, [
          { is: "addressType", of: "destination" },
          { is: "compare", equal: true, value: word(ADDRESS_LOCAL) },
          { is: "jump", chain: "published" },
        ]),
      ]),
      addBaseChain(TABLE, { name: "forward", type: "filter", hook: "forward", priority: 0, policy: "drop" }),
      addRule(TABLE, "forward", [
        { is: "ctStatus" },
        { is: "mask", mask: word(CT_STATUS_DNAT) },
        { is: "compare", equal: false, value: word(0) },
        { is: "counter" },
        { is: "verdict", verdict: "accept" },
      ]),
      addRule(TABLE, "forward", [
        { is: "meta", key: "iifname", into: 2 },
        { is: "lookup", set: OPEN_LINKS.name, from: 2, absent: true },
        { is: "verdict", verdict: "return" },
      ]),
    ]);
  }

  test("dnat by maps, of TCP and UDP, from outside and from the host; the client's address stays", async () => {
    const to = (port: number) => [address("10.0.1.2"), port] as const;
    publish(
      ...addElements(TABLE, PORTS, [
        { key: [TCP, 8080], value: to(80) },
        { key: [UDP, 5300], value: to(53) },
      ]),
      ...addElements(TABLE, ADDRESS_PORTS, [{ key: [address("10.0.0.1"), TCP, 8081], value: to(80) }]),
    );
    using _tcp = server.run(() => serveTcp("10.0.1.2", 80));
    using _udp = await server.run(() => serveUdp("10.0.1.2", 53));

    expect(await client.run(() => askTcp("10.0.0.1", 8080))).toBe("10.0.0.2");
    expect(await client.run(() => askTcp("10.0.1.1", 8080))).toBe("10.0.0.2");
    expect(await client.run(() => askTcp("10.0.0.1", 8081))).toBe("10.0.0.2");
    expect(await client.run(() => askTcp("10.0.1.1", 8081))).toBeUndefined();
    expect(await client.run(() => askUdp("10.0.0.1", 5300))).toBe("10.0.0.2");
    expect(await askTcp("10.0.0.1", 8080)).toBe("10.0.0.1");
    expect(await askUdp("10.0.0.1", 5300)).toBe("10.0.0.1");
    // Not translated: not local, then not forwarded; and no such port.
    expect(await client.run(() => askTcp("10.0.1.2", 80, 300))).toBeUndefined();
    expect(await client.run(() => askTcp("10.0.0.1", 8090))).toBeUndefined();

    nft.commit(deleteElements(TABLE, PORTS, [[TCP, 8080]]));
    expect(await client.run(() => askTcp("10.0.0.1", 8080))).toBeUndefined();
    expect(nft.elements(TABLE, PORTS)).toEqual([{ key: [UDP, 5300], value: [...to(53)] }]);
  });

  test("dnat to a constant address and port", async () => {
    nft.commit([addTable(TABLE), deleteTable(TABLE), addTable(TABLE)]);
    nft.commit([
      addBaseChain(TABLE, {
        ...{ name: "pre", type: "nat", hook: "prerouting", priority: -100 },
        policy: "accept",
      }),
      addRule(TABLE, "pre", [
        ...ipv4,
        { is: "load", value: address("10.0.1.2") },
        { is: "load", value: Uint8Array.of(0, 80), into: 1 },
        { is: "dnat", family: "ip", address: 0, port: 1 },
      ]),
    ]);
    using _tcp = server.run(() => serveTcp("10.0.1.2", 80));
    expect(await client.run(() => askTcp("192.0.2.9", 4711))).toBe("10.0.0.2");
    nft.commit([flushChain(TABLE, "pre")]);
    expect(await client.run(() => askTcp("192.0.2.9", 4712, 300))).toBeUndefined();
  });

  test("all ports of TCP in one transaction, and out again", () => {
    publish();
    const ports = Array.from({ length: 65_535 }, (_, index) => index + 1);
    const elements = ports.map((port) => ({ key: [TCP, port], value: [address("10.0.1.2"), port] }) as const);
    nft.commit(addElements(TABLE, PORTS, elements));
    const found = nft.elements(TABLE, PORTS);
    expect(found).toHaveLength(ports.length);
    expect(new Set(found.map(({ key }) => key[1])).size).toBe(ports.length);
    expect(found.every(({ key, value }) => key[1] === value[1])).toBe(true);
    const keys = elements.map(({ key }) => key);
    nft.commit(deleteElements(TABLE, PORTS, keys));
    expect(nft.elements(TABLE, PORTS)).toEqual([]);

    const started = performance.now();
    const rounds = 200;
    for (let round = 0; round < rounds; round++) {
      nft.commit(addElements(TABLE, PORTS, elements.slice(round, round + 1)));
      nft.commit(deleteElements(TABLE, PORTS, keys.slice(round, round + 1)));
    }
    // 0.013 ms; with room for other tests that run.
    expect((performance.now() - started) / (2 * rounds)).toBeLessThan(1);
  });

  test("a refused transaction changes nothing, however much of it is refused", () => {
    publish();
    const keys = Array.from({ length: 5000 }, (_, index) => [TCP, index + 1] as const);
    const missing = keys.flatMap((key) => deleteElements(TABLE, PORTS, [key]));
    const added = addElements(TABLE, PORTS, [{ key: [UDP, 1], value: [address("10.0.1.2"), 1] }]);
    expect(() => nft.commit([...added, ...missing])).toThrow("delete from set inet nat_test ports");
    expect(nft.elements(TABLE, PORTS)).toEqual([]);
    nft.commit([...added, ...added]);
    expect(nft.elements(TABLE, PORTS)).toHaveLength(1);
    expect(() =>
      nft.commit(addElements(TABLE, PORTS, [{ key: [UDP, 1], value: [address("10.0.1.3"), 1] }])),
    ).toThrow("EEXIST");
    nft.commit([flushSet(TABLE, PORTS.name)]);
    expect(nft.elements(TABLE, PORTS)).toEqual([]);
  });

  test("sets and maps of IPv6", () => {
    publish();
    const map = nftMap("ports6", ["ipv6_addr", "inet_proto", "inet_service"], ["ipv6_addr", "inet_service"]);
    const local = Uint8Array.from({ length: 16 }, (_, index) => Number(index === 15));
    const element = { key: [local, TCP, 80], value: [local, 8080] } as const;
    nft.commit([addSet(TABLE, map, 9), ...addElements(TABLE, map, [element])]);
    expect(nft.elements(TABLE, map)).toEqual([{ key: [...element.key], value: [...element.value] }]);
    nft.commit([deleteSet(TABLE, map.name)]);
    expect(nft.hasSet(TABLE, map.name)).toBe(false);
  });

  test.skipIf(!Bun.which("nft"))("nft understands maps and rules as they are meant", () => {
    publish(
      ...addElements(TABLE, PORTS, [{ key: [TCP, 8080], value: [address("10.0.1.2"), 80] }]),
      ...addElements(TABLE, ADDRESS_PORTS, [
        { key: [address("10.0.0.1"), UDP, 53], value: [address("10.0.1.2"), 5353] },
      ]),
      ...addElements(TABLE, OPEN_LINKS, [{ key: ["to-client"] }]),
    );
    const { stdout } = Bun.spawnSync(["nft", "-n", "--stateless", "list", "table", "inet", TABLE.name]);
    const lines = stdout
      .toString()
      .split("\n")
      .map((line) => line.trim());
    for (const line of [
      "type inet_proto . inet_service : ipv4_addr . inet_service",
      "elements = { 6 . 8080 : 10.0.1.2 . 80 }",
      "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
      "elements = { 10.0.0.1 . 17 . 53 : 10.0.1.2 . 5353 }",
      'elements = { "to-client" }',
      "dnat ip to ip daddr . meta l4proto . th dport map @address_ports",
      "meta nfproto 2 dnat ip to meta l4proto . th dport map @ports",
      "fib daddr type 2 jump published",
      "ct status 0x20 counter accept",
      "iifname != @open_links return",
    ])
      expect(lines).toContain(line);
  });
});

/** A server that answers each connection with the address it sees, and ends. */
function serveTcp(hostname: string, port: number): Disposable {
  const listener = Bun.listen({
    ...{ hostname, port },
    socket: { open: (socket) => void socket.end(socket.remoteAddress), data() {} },
  });
  return { [Symbol.dispose]: () => listener.stop(true) };
}

async function serveUdp(hostname: string, port: number): Promise<Disposable> {
  const socket = await Bun.udpSocket({
    ...{ hostname, port },
    socket: { data: (self, _data, senderPort, sender) => void self.send(sender, senderPort, sender) },
  });
  return { [Symbol.dispose]: () => socket.close() };
}

/** What the server says; undefined when nothing came of it. */
function askTcp(hostname: string, port: number, timeoutMs = 2000): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let answer = "";
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  Bun.connect({
    ...{ hostname, port },
    socket: {
      data: (_, data) => {
        answer += data.toString();
      },
      close: () => resolve(answer),
    },
  }).catch(() => resolve(undefined));
  return promise.finally(() => clearTimeout(timer));
}

function askUdp(hostname: string, port: number, timeoutMs = 2000): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  const socket = Bun.udpSocket({
    connect: { hostname, port },
    socket: { data: (_, data) => resolve(data.toString()) },
  });
  return socket.then(async (opened) => {
    opened.send("?");
    const answer = await promise;
    clearTimeout(timer);
    opened.close();
    return answer;
  });
}
