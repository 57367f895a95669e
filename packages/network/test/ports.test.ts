import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { addTable, deleteTable, NftablesSocket, nftMap } from "@longshore/netlink";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { PortRequest } from "../src/index.ts";
import {
  ask,
  askUdp,
  BRIDGE,
  createRequest,
  inSandbox,
  openEcho,
  openLab,
  openOutside,
  sandboxRequest,
  serveAddress,
  serveEcho,
  serveUdp,
  until,
} from "./lab.ts";
import { openSctp } from "./sctp.ts";

const TABLE = { family: "inet", name: BRIDGE } as const;
const PORTS = nftMap("ports", ["inet_proto", "inet_service"], ["ipv4_addr", "inet_service"]);
const SCTP = 132;

testInPrivateNetwork(import.meta.path, "published ports between network namespaces of the test", () => {
  const of = (protocol: PortRequest["protocol"], containerPort: number, first: number, last = first) =>
    ({ protocol, containerPort, hostIp: "", hostPorts: [first, last] }) as const;

  test("5,000 ports are elements of one map, held by one process, and gone with their container", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    using nft = new NftablesSocket();
    const networks = await lab.open();
    const numbers = Array.from({ length: 5000 }, (_, index) => 20_000 + index);
    const ports = numbers.map((number) => of("tcp", number, number));
    const many = await networks.createSandbox({ ...sandboxRequest("many"), ports });
    expect(many.ports).toHaveLength(10_000);
    expect(nft.elements(TABLE, PORTS)).toHaveLength(5000);
    // No more rules than for one.
    expect(nft.rules(TABLE, "prerouting")).toHaveLength(6);
    const sample = [20_000, 21_234, 24_999];
    using servers = new DisposableStack();
    for (const number of sample)
      servers.use(inSandbox(many.netnsPath, () => serveAddress("0.0.0.0", number)));
    const works = async () => {
      for (const number of sample)
        expect(await outside.run(() => ask("198.51.100.1", number))).toBe("198.51.100.2");
    };
    await works();
    const late = networks.createSandbox({ ...sandboxRequest("late"), ports: [of("tcp", 80, 22_222)] });
    await expect(late).rejects.toThrow(
      /^driver failed programming external connectivity on endpoint container-late \([0-9a-f]{64}\): Bind for 0.0.0.0:22222 failed: port is already allocated$/,
    );
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["many"]);
    await works();
    await again.releaseSandbox("many");
    expect(nft.elements(TABLE, PORTS)).toEqual([]);
    expect(await outside.run(() => ask("198.51.100.1", 20_000, 300))).toBeUndefined();
    await again.createSandbox({ ...sandboxRequest("next"), ports: [of("tcp", 80, 22_222)] });
  });

  test("UDP and SCTP; ranges of the host and of its own choice", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    using nft = new NftablesSocket();
    const networks = await lab.open();
    const ports = [
      of("udp", 53, 5300),
      of("sctp", 9, 9900),
      of("tcp", 80, 7000, 7002),
      of("tcp", 80, 7000, 7002),
    ];
    const web = await networks.createSandbox({
      ...sandboxRequest("web"),
      ports: [...ports, { protocol: "udp", containerPort: 53, hostIp: "" }],
    });
    const [, , first, second, chosen] = web.ports
      .filter(({ hostIp }) => hostIp === "0.0.0.0")
      .map(({ hostPort }) => hostPort);
    expect([first, second]).toEqual([7000, 7001]);
    const [low = 0, high = 0] = fs
      .readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")
      .trim()
      .split(/\s+/)
      .map(Number);
    expect(chosen).toBeWithin(low, high + 1);
    using udp = await inSandbox(web.netnsPath, () => serveUdp("0.0.0.0", 53));
    expect(udp).toBeDefined();
    for (const port of [5300, chosen ?? 0])
      expect(await outside.run(() => askUdp("198.51.100.1", port))).toBe("198.51.100.2");
    expect(await askUdp("127.0.0.1", 5300)).toBe("172.17.0.1");
    expect(nft.elements(TABLE, PORTS).filter(({ key }) => key[0] === SCTP)).toHaveLength(1);
    const third = await networks.createSandbox({ ...sandboxRequest("third"), ports: ports.slice(2, 3) });
    expect(third.ports[0]?.hostPort).toBe(7002);
    await expect(
      networks.createSandbox({ ...sandboxRequest("fourth"), ports: ports.slice(2, 3) }),
    ).rejects.toThrow("all ports are allocated");
    await expect(
      networks.createSandbox({ ...sandboxRequest("fifth"), ports: [of("sctp", 9, 9900)] }),
    ).rejects.toThrow("Bind for 0.0.0.0:9900 failed: port is already allocated");
  });

  test("SCTP goes to its container and back, with the client's address", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const { netnsPath } = await networks.createSandbox({
      ...sandboxRequest("phone"),
      ports: [of("sctp", 9, 9900)],
    });
    using client = outside.run(openSctp);
    using server = inSandbox(netnsPath, openSctp);
    const heard = async (socket: ReturnType<typeof openSctp>) => {
      const packets: ReturnType<typeof socket.next>[] = [];
      await until(() => {
        packets.push(socket.next());
        return packets.at(-1) !== undefined;
      });
      return packets.at(-1);
    };
    client.send("198.51.100.1", { sourcePort: 5000, port: 9900, tag: 0, chunk: 1, initiateTag: 77 });
    const init = { sourcePort: 5000, port: 9, tag: 0, chunk: 1, initiateTag: 77 };
    expect(await heard(server)).toEqual({ ...init, from: "198.51.100.2", intact: true });
    server.send("198.51.100.2", { sourcePort: 9, port: 5000, tag: 77, chunk: 2, initiateTag: 88 });
    const answer = { sourcePort: 9900, port: 5000, tag: 77, chunk: 2, initiateTag: 88 };
    expect(await heard(client)).toEqual({ ...answer, from: "198.51.100.1", intact: true });
    // One that isn't published goes nowhere.
    client.send("198.51.100.1", { sourcePort: 5001, port: 9901, tag: 0, chunk: 1, initiateTag: 99 });
    client.send("198.51.100.1", { sourcePort: 5002, port: 9900, tag: 0, chunk: 1, initiateTag: 100 });
    expect(await heard(server)).toMatchObject({ sourcePort: 5002, initiateTag: 100 });
  });

  test("a client that goes on sending by UDP finds the container that comes, and the next one", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const answers: string[] = [];
    let wake = () => {};
    const opened = outside.run(() =>
      Bun.udpSocket({
        connect: { hostname: "198.51.100.1", port: 5300 },
        socket: {
          data(_, data) {
            answers.push(data.toString());
            wake();
          },
          error() {},
        },
      }),
    );
    const client = await opened;
    // Often enough that the kernel doesn't forget it by itself.
    const sending = setInterval(() => client.send("?"), 5);
    const heardOf = async (name: string) => {
      while (answers.at(-1) !== name) await new Promise<void>((resolve) => (wake = resolve));
    };
    const serve = (netnsPath: string, name: string) =>
      inSandbox(netnsPath, () =>
        Bun.udpSocket({
          ...{ hostname: "0.0.0.0", port: 53 },
          socket: { data: (self, _data, port, sender) => void self.send(name, port, sender) },
        }),
      );
    await Bun.sleep(50);
    for (const name of ["first", "second", "third"]) {
      const { netnsPath } = await networks.createSandbox({
        ...sandboxRequest(name),
        ports: [of("udp", 53, 5300)],
      });
      const server = await serve(netnsPath, name);
      await heardOf(name);
      server.close();
      await networks.releaseSandbox(name);
    }
    clearInterval(sending);
    client.close();
  });

  test("restarts, and networks that come and go, cost no packet of connections that there are or begin", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const ports = [of("tcp", 80, 8080), of("tcp", 7, 7007)];
    const web = await networks.createSandbox({ ...sandboxRequest("web"), ports });
    using servers = new DisposableStack();
    servers.use(inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80)));
    servers.use(inSandbox(web.netnsPath, () => serveEcho("0.0.0.0", 7)));
    /** Of the thread's namespace, since it was made. */
    const counters = () => {
      const read = (file: string) => fs.readFileSync(`/proc/thread-self/net/${file}`, "utf8");
      const all = new Map<string, number>();
      const lines = `${read("snmp")}${read("netstat")}`.matchAll(/^(\w+): (\D.*)\n\w+: (.*)$/gm);
      for (const [, , names = "", values = ""] of lines)
        for (const [at, name] of names.split(" ").entries()) all.set(name, Number(values.split(" ")[at]));
      const of = (name: string) => all.get(name) ?? 0;
      return {
        // Who is slow to answer is sent something again, and says then that he had it.
        lost: of("RetransSegs") - of("TCPDSACKRecv"),
        resets: of("OutRsts") + of("EstabResets"),
        newConnections: of("TCPSynRetrans"),
      };
    };
    const all = () => [counters(), outside.run(counters), inSandbox(web.netnsPath, counters)];
    const before = all();
    let isOver = false;
    let connections = 0;
    const visit = async () => {
      while (!isOver) {
        expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
        connections++;
      }
    };
    const long = await outside.run(() => openEcho("198.51.100.1", 7007));
    let exchanges = 0;
    const talk = async () => {
      for (; !isOver; exchanges++) await long.exchange("x".repeat(1000));
    };
    const talking = Promise.all([visit(), visit(), talk()]);
    await networks.close();
    for (let life = 0; life < 3; life++) {
      const program = path.join(import.meta.dir, "restarts.ts");
      const engine = Bun.spawn([process.execPath, program, lab.database, lab.stateDir], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const rounds = engine.stdout.getReader();
      for (let round = 0; round < 2; round++) await rounds.read();
      await Bun.sleep(Math.random() * 20);
      engine.kill("SIGKILL");
      await engine.exited;
    }
    isOver = true;
    await talking;
    long.close();
    expect(exchanges).toBeGreaterThan(20);
    expect(connections).toBeGreaterThan(5);
    expect(all()).toEqual(before);
  });

  test("published ports lead to their container from everywhere, as long as it lives", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    await networks.create(createRequest("blue"));
    const web = await networks.createSandbox({
      ...sandboxRequest("web"),
      ports: [
        { protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [8080, 8080] },
        { protocol: "tcp", containerPort: 80, hostIp: "127.0.0.1", hostPorts: [9000, 9001] },
        { protocol: "tcp", containerPort: 80, hostIp: "" },
      ],
    });
    expect(web.ports.slice(0, 3)).toEqual([
      { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 },
      { protocol: "tcp", containerPort: 80, hostIp: "::", hostPort: 8080 },
      { protocol: "tcp", containerPort: 80, hostIp: "127.0.0.1", hostPort: 9000 },
    ]);
    const chosen = web.ports[3]?.hostPort ?? 0;
    using server = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    const neighbour = await networks.createSandbox(sandboxRequest("neighbour"));
    const stranger = await networks.createSandbox({
      ...sandboxRequest("stranger"),
      attachments: [{ network: "blue" }],
    });

    // The client's address is kept, but a container's, which goes out by the host's as always.
    const everywhere = async () => {
      expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
      expect(await outside.run(() => ask("198.51.100.1", chosen))).toBe("198.51.100.2");
      expect(await ask("198.51.100.1", 8080)).toBe("198.51.100.1");
      expect(await ask("127.0.0.1", 8080)).toBe("172.17.0.1");
      expect(await ask("127.0.0.1", 9000)).toBe("172.17.0.1");
      expect(await inSandbox(neighbour.netnsPath, () => ask("198.51.100.1", 8080))).toBe("172.17.0.1");
      expect(await inSandbox(web.netnsPath, () => ask("198.51.100.1", 8080))).toBe("172.17.0.1");
      expect(await inSandbox(stranger.netnsPath, () => ask("198.51.100.1", 8080))).toBe("172.17.0.1");
      // What is published at loopback is for this host.
      expect(await outside.run(() => ask("198.51.100.1", 9000, 300))).toBeUndefined();
      expect(await inSandbox(neighbour.netnsPath, () => ask("198.51.100.1", 9000, 300))).toBeUndefined();
    };
    await everywhere();
    // Nor for who sends it there by way of this host, which others than we may have opened for that; the bridge always is.
    const opened = (link: string) => fs.writeFileSync(`/proc/sys/net/ipv4/conf/${link}/route_localnet`, "1");
    opened("uplink");
    outside.run(() => opened("eth0"));
    const down = inSandbox(neighbour.netnsPath, () => {
      opened("eth0");
      return Bun.spawnSync(["ip", "link", "set", "lo", "down"]);
    });
    expect(down.exitCode).toBe(0);
    expect(await outside.run(() => ask("127.0.0.1", 9000, 300))).toBeUndefined();
    expect(await inSandbox(neighbour.netnsPath, () => ask("127.0.0.1", 9000, 300))).toBeUndefined();

    const taken = (hostIp: string) =>
      networks.createSandbox({
        ...sandboxRequest("taken"),
        ports: [{ protocol: "tcp", containerPort: 80, hostIp, hostPorts: [8080, 8080] }],
      });
    await expect(taken("")).rejects.toThrow("Bind for 0.0.0.0:8080 failed: port is already allocated");
    await expect(taken("127.0.0.1")).rejects.toThrow("port is already allocated");
    using other = serveAddress("0.0.0.0", 8081);
    const used = networks.createSandbox({
      ...sandboxRequest("used"),
      ports: [{ protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [other.port, other.port] }],
    });
    await expect(used).rejects.toThrow("address already in use");
    expect(networks.endpoints("taken")).toEqual([]);

    // A daemon that comes after goes on with them, and a table that was flushed gets them back.
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["web", "neighbour", "stranger"]);
    expect(again.ports("web")).toEqual(web.ports);
    await everywhere();
    using nft = new NftablesSocket();
    nft.commit([addTable(TABLE), deleteTable(TABLE)]);
    await again.createSandbox(sandboxRequest("later"));
    await everywhere();

    // They go where the container goes.
    await again.connect(sandboxRequest("web"), { network: "blue" });
    await again.disconnect("web", again.inspect("bridge").id);
    expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
    await again.releaseSandbox("web");
    expect(await outside.run(() => ask("198.51.100.1", 8080, 300))).toBeUndefined();
    expect(again.ports("web")).toEqual([]);
    for (const id of ["neighbour", "stranger", "later"]) await again.releaseSandbox(id);
  }, 30_000);

  test("1,000 published ports are one transaction, and go with their sandbox", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const ports = Array.from(
      { length: 1000 },
      (_, number): PortRequest => ({
        ...{ protocol: "udp", containerPort: 1000 + number, hostIp: "" },
        hostPorts: [10_000 + number, 10_000 + number],
      }),
    );
    const { ports: bound } = await networks.createSandbox({ ...sandboxRequest("many"), ports });
    expect(bound).toHaveLength(1000);
    await networks.releaseSandbox("many");
    const { ports: again } = await networks.createSandbox({ ...sandboxRequest("again"), ports });
    expect(again).toEqual(bound);
    await networks.releaseSandbox("again");
  });
});
