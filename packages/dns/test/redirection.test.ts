import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { flushChain, NftablesSocket } from "@longshore/netlink";
import { addNeighbour, type Neighbour, testInPrivateNetwork } from "@longshore/netlink/testing";
import {
  DnsServer,
  RESOLVER_ADDRESS,
  Resolver,
  ROUTE_LOCALNET,
  redirection,
  removeRedirection,
} from "../src/index.ts";
import { answersOf, askTcp, askUdp, query } from "./lab.ts";

const TABLE = { family: "ip", name: "longshore_dns" } as const;

testInPrivateNetwork(import.meta.path, "127.0.0.11 of a network namespace leads to the server", () => {
  const all = new DisposableStack();
  const hosts: Neighbour[] = [];
  const firewalls: NftablesSocket[] = [];
  const ports: number[] = [];

  beforeAll(async () => {
    const resolver = all.use(
      new Resolver({
        names: (client, name) => ({ web: ["10.8.0.80"], me: [client] })[name],
        pointer: () => undefined,
        upstreams: () => [],
      }),
    );
    const server = all.use(new DnsServer(resolver));
    for (const number of [1, 2]) {
      const gateway = `10.8.${number}.1`;
      const host = all.use(addNeighbour(`to-${number}`, gateway, `10.8.${number}.2`));
      const { port } = await server.listen(gateway, 0);
      const nft = host.run(() => {
        fs.writeFileSync(ROUTE_LOCALNET, "1");
        return all.use(new NftablesSocket());
      });
      nft.commit(redirection({ address: gateway, port }));
      hosts.push(host);
      firewalls.push(nft);
      ports.push(port);
    }
  });
  afterAll(() => all.dispose());

  test("by UDP and TCP; the server sees each client's own address", async () => {
    for (const [index, host] of hosts.entries()) {
      const own = `10.8.${index + 1}.2`;
      expect(answersOf(await host.run(() => askUdp(RESOLVER_ADDRESS, 53, query("me"))))).toEqual([own]);
      expect(answersOf(await host.run(() => askUdp(RESOLVER_ADDRESS, 53, query("web"))))).toEqual([
        "10.8.0.80",
      ]);
      const several = await host.run(() => askTcp(RESOLVER_ADDRESS, 53, [query("me"), query("web")]));
      expect(several.map(answersOf)).toEqual([[own], ["10.8.0.80"]]);
    }
  });

  test("another address, or port, of the loopback network is what it is", async () => {
    const [host] = hosts;
    expect(await host?.run(() => askUdp("127.0.0.12", 53, query("web"), 300))).toBeUndefined();
    expect(await host?.run(() => askUdp(RESOLVER_ADDRESS, 54, query("web"), 300))).toBeUndefined();
  });

  test.skipIf(!Bun.which("getent"))("the C library's resolver finds names by it", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-dns-"));
    try {
      const file = path.join(directory, "resolv.conf");
      fs.writeFileSync(file, `nameserver ${RESOLVER_ADDRESS}\noptions ndots:0 timeout:3\n`);
      expect(Bun.spawnSync(["mount", "--bind", file, "/etc/resolv.conf"]).exitCode).toBe(0);
      for (const RES_OPTIONS of ["", "use-vc"]) {
        const getent = hosts[1]?.run(() =>
          Bun.spawn(["getent", "ahostsv4", "me"], { env: { ...process.env, RES_OPTIONS }, stdout: "pipe" }),
        );
        expect(await getent?.stdout.text()).toContain("10.8.2.2 ");
      }
    } finally {
      Bun.spawnSync(["umount", "/etc/resolv.conf"]);
      fs.rmSync(directory, { recursive: true });
    }
  });

  test("neighbours don't reach what listens on loopback addresses, as they would without the guard", async () => {
    const [host] = hosts;
    const [nft] = firewalls;
    if (!host || !nft) throw new Error("no host");
    const heard: string[] = [];
    const listener = await host.run(() =>
      Bun.udpSocket({
        ...{ hostname: "127.0.0.1", port: 9999 },
        socket: { data: (_, bytes) => void heard.push(bytes.toString()) },
      }),
    );
    // Our side takes 127.0.0.1 for an address behind the cable.
    fs.writeFileSync(ROUTE_LOCALNET, "1");
    for (const command of [
      "ip route del local 127.0.0.1 dev lo table local",
      "ip route del local 127.0.0.0/8 dev lo table local",
      "ip route add 127.0.0.1 via 10.8.1.2 dev to-1",
    ])
      expect(Bun.spawnSync(command.split(" ")).stderr.toString()).toBe("");
    const knock = await Bun.udpSocket({ hostname: "10.8.1.1", port: 0, socket: { data() {} } });
    const say = async (text: string, address: string): Promise<void> => {
      knock.send(text, 9999, address);
      // What was sent before has arrived, or never will.
      expect(answersOf(await host.run(() => askUdp(RESOLVER_ADDRESS, 53, query("web"))))).toEqual([
        "10.8.0.80",
      ]);
      await Bun.sleep(20);
    };
    await say("guarded", "127.0.0.1");
    expect(heard).toEqual([]);
    nft.commit([flushChain(TABLE, "guard")]);
    await say("unguarded", "127.0.0.1");
    expect(heard).toEqual(["unguarded"]);
    knock.close();
    listener.close();
  });

  test("it moves to another server in one transaction, and can be taken away", async () => {
    const [host] = hosts;
    const [nft] = firewalls;
    nft?.commit(redirection({ address: "10.8.2.1", port: ports[1] ?? 0 }));
    expect(answersOf(await host?.run(() => askUdp(RESOLVER_ADDRESS, 53, query("me"))))).toEqual(["10.8.1.2"]);
    nft?.commit(removeRedirection());
    nft?.commit(removeRedirection());
    expect(await host?.run(() => askUdp(RESOLVER_ADDRESS, 53, query("me"), 300))).toBeUndefined();
    expect(() => redirection({ address: "::1", port: 53 })).toThrow("not an IPv4 address");
  });

  test("it takes less than a millisecond", () => {
    const times: number[] = [];
    for (let round = 0; round < 30; round++) {
      using host = addNeighbour(`cost-${round}`, "10.9.0.1", "10.9.0.2");
      times.push(
        host.run(() => {
          const started = performance.now();
          using nft = new NftablesSocket();
          fs.writeFileSync(ROUTE_LOCALNET, "1");
          nft.commit(redirection({ address: "10.9.0.1", port: 5300 }));
          return performance.now() - started;
        }),
      );
    }
    const sorted = times.toSorted((one, other) => one - other);
    // The median is 0.33 ms; of a busy machine the better ones tell.
    expect(sorted[7]).toBeLessThan(1);
  });
});
