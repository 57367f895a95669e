import { expect, test } from "bun:test";
import { addTable, deleteTable, NftablesSocket } from "@longshore/netlink";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { Networks, PortRequest } from "../src/index.ts";
import {
  ask,
  askUdp,
  BRIDGE,
  createRequest,
  inSandbox,
  openLab,
  openOutside,
  sandboxRequest,
  serveAddress,
  serveUdp,
} from "./lab.ts";

const TABLE = { family: "inet", name: BRIDGE } as const;
/** Long enough for an answer between namespaces, short enough to wait for none. */
const SILENCE_MS = 300;

testInPrivateNetwork(import.meta.path, "what containers reach, and in whose name", () => {
  const port = (hostPort: number, protocol: PortRequest["protocol"] = "tcp"): PortRequest => ({
    ...{ protocol, containerPort: 80, hostIp: "", hostPorts: [hostPort, hostPort] },
  });
  const ip = (...words: string[]) => {
    const { success, stderr } = Bun.spawnSync(["ip", ...words]);
    if (!success) throw new Error(stderr.toString());
  };
  const sysctl = (name: string, value: string) => Bun.write(`/proc/sys/${name}`, value);
  const openSandbox = (networks: Networks, id: string, network: string, ports: PortRequest[] = []) =>
    networks.createSandbox({ ...sandboxRequest(id), attachments: [{ network }], ports });

  /** An internal network, one with IPv6 besides, and the default bridge with published ports of each kind. */
  async function openNetworks(networks: Networks) {
    const internal = { ...createRequest("inner", { subnet: "10.9.0.0/24" }, { subnet: "fd00:9::/64" }) };
    await networks.create({ ...internal, internal: true });
    await networks.create(createRequest("six", { subnet: "10.6.0.0/24" }, { subnet: "fd00:6::/64" }));
    return {
      web: await networks.createSandbox({ ...sandboxRequest("web"), ports: [port(8080), port(5300, "udp")] }),
      six: await openSandbox(networks, "six", "six", [port(8086)]),
      spy: await openSandbox(networks, "spy", "inner"),
      friend: await openSandbox(networks, "friend", "inner"),
    };
  }

  test("an internal network reaches the host at its gateway, and no published port, gateway or host beyond", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const { web, six, spy, friend } = await openNetworks(networks);
    using servers = new DisposableStack();
    const serve = (netnsPath: string, hostname: string) =>
      servers.use(inSandbox(netnsPath, () => serveAddress(hostname, 80)));
    serve(web.netnsPath, "0.0.0.0");
    serve(six.netnsPath, "::");
    serve(friend.netnsPath, "::");
    using udp = await inSandbox(web.netnsPath, () => serveUdp("0.0.0.0", 80));
    using host = serveAddress("0.0.0.0", 7000);
    using host6 = serveAddress("::", 7006);
    using stranger = outside.run(() => serveAddress("198.51.100.2", 80));
    expect([udp !== undefined, host.port, host6.port, stranger.port]).toEqual([true, 7000, 7006, 80]);

    // All of it is there for others.
    for (const [address, at] of [
      ["198.51.100.1", 8080],
      ["2001:db8::1", 8080],
      ["2001:db8::1", 8086],
    ] as const)
      expect(await outside.run(() => ask(address, at))).toBeString();

    const reach = (address: string, at: number) =>
      inSandbox(spy.netnsPath, () => ask(address, at, SILENCE_MS));
    const reachUdp = (address: string, at: number) =>
      inSandbox(spy.netnsPath, () => askUdp(address, at, SILENCE_MS).catch(() => undefined));
    const isClosed = async () => {
      const own = ["10.9.0.1", "fd00:9::1"] as const;
      const others = ["172.17.0.1", "10.6.0.1", "198.51.100.1", "fd00:6::1", "2001:db8::1"];
      const beyond = ["172.17.0.2", "10.6.0.2", "198.51.100.2", "fd00:6::2", "2001:db8::2"];
      const asked = [
        ...[...own, ...others].flatMap((address) => [8080, 8086].map((at) => ({ address, at }))),
        ...others.flatMap((address) => [7000, 7006].map((at) => ({ address, at }))),
        ...beyond.map((address) => ({ address, at: 80 })),
      ];
      const answers = await Promise.all(
        asked.map(async ({ address, at }) => ({ address, at, heard: await reach(address, at) })),
      );
      expect(answers.filter(({ heard }) => heard !== undefined)).toEqual([]);
      for (const address of ["10.9.0.1", "172.17.0.1", "198.51.100.1"])
        expect(await reachUdp(address, 5300)).toBeUndefined();
      expect(await reach("10.9.0.1", 7000)).toBe("10.9.0.2");
      expect(await reach("fd00:9::1", 7006)).toBe("fd00:9::2");
      expect(await reach("10.9.0.3", 80)).toEndWith("10.9.0.2");
      expect(await reach("fd00:9::3", 80)).toBe("fd00:9::2");
    };
    await isClosed();
    // Nor for a container that makes its routes itself.
    inSandbox(spy.netnsPath, () => {
      ip("route", "add", "default", "via", "10.9.0.1");
      ip("-6", "route", "add", "default", "via", "fd00:9::1");
    });
    await isClosed();
  }, 30_000);

  test("who is on an internal network is not reached from outside it either", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const { web, friend } = await openNetworks(networks);
    using server = inSandbox(friend.netnsPath, () => serveAddress("::", 80));
    expect(server.port).toBe(80);
    // Something that answers by the same way shows that the host itself is let in.
    expect(await ask("10.9.0.3", 80)).toEndWith("10.9.0.1");
    for (const from of [
      (work: () => Promise<string | undefined>) => outside.run(work),
      (work: () => Promise<string | undefined>) => inSandbox(web.netnsPath, work),
    ])
      expect(await from(() => ask("10.9.0.3", 80, SILENCE_MS))).toBeUndefined();
    expect(await outside.run(() => ask("fd00:9::3", 80, SILENCE_MS))).toBeUndefined();
  });

  test("a bridge takes no packet in the name of loopback or of a host elsewhere", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    expect(outside).toBeDefined();
    const networks = await lab.open();
    const { web } = await openNetworks(networks);
    const heard = new Set<string>();
    const host = await Bun.udpSocket({
      ...{ hostname: "0.0.0.0", port: 9999 },
      socket: { data: (_socket, data) => void heard.add(data.toString()) },
    });
    using closing = { [Symbol.dispose]: () => host.close() };
    expect(closing).toBeDefined();
    const send = async (source: string) => {
      const sent = inSandbox(web.netnsPath, () =>
        Bun.spawnSync([
          "perl",
          "-MSocket",
          "-e",
          `socket(my $s, PF_INET, SOCK_DGRAM, 0) or die;
           bind($s, sockaddr_in(0, inet_aton($ARGV[0]))) or die "bind: $!";
           send($s, $ARGV[0], 0, sockaddr_in(9999, inet_aton("172.17.0.1"))) or die "send: $!";`,
          source,
        ]),
      );
      expect(sent.stderr.toString()).toBe("");
    };
    inSandbox(web.netnsPath, () => {
      ip("link", "set", "lo", "down");
      for (const source of ["127.0.0.2", "198.51.100.2", "203.0.113.9"])
        ip("address", "add", `${source}/32`, "dev", "eth0");
    });
    await inSandbox(web.netnsPath, () => sysctl("net/ipv4/conf/eth0/route_localnet", "1"));
    const forged = ["127.0.0.2", "198.51.100.2", "203.0.113.9"];
    for (const source of [...forged, "172.17.0.2"]) await send(source);
    // What was sent last arrives last.
    const end = Date.now() + 5000;
    while (!heard.has("172.17.0.2") && Date.now() < end) await Bun.sleep(5);
    expect([...heard]).toEqual(["172.17.0.2"]);
  });

  test("nobody else flushes or changes the rules; who comes after the daemon does", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open({ ownsTable: true });
    const { web, spy } = await openNetworks(networks);
    using server = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
    using stranger = outside.run(() => serveAddress("198.51.100.2", 80));
    expect([server.port, stranger.port]).toEqual([80, 80]);
    using theirs = new NftablesSocket();
    const before = theirs.rules(TABLE, "forward")?.length;
    expect(before).toBeGreaterThan(0);
    expect(() => theirs.commit([deleteTable(TABLE)])).toThrow("EPERM");
    if (Bun.which("nft")) {
      expect(Bun.spawnSync(["nft", "flush", "ruleset"]).exitCode).toBe(0);
      expect(theirs.rules(TABLE, "forward")).toHaveLength(before ?? 0);
      expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
    }
    await networks.close();
    expect(theirs.rules(TABLE, "forward")).toHaveLength(before ?? 0);
    // With the daemon away the table is anyone's. The kernel's own settings hold.
    theirs.commit([addTable(TABLE), deleteTable(TABLE)]);
    inSandbox(spy.netnsPath, () => ip("route", "add", "default", "via", "10.9.0.1"));
    inSandbox(web.netnsPath, () => ip("route", "replace", "default", "via", "172.17.0.1"));
    // The stranger knows the way back to both, so this is for the host to forward.
    expect(await inSandbox(web.netnsPath, () => ask("198.51.100.2", 80))).toBe("172.17.0.2");
    expect(await inSandbox(spy.netnsPath, () => ask("198.51.100.2", 80, SILENCE_MS))).toBeUndefined();
    expect(await inSandbox(spy.netnsPath, () => ask("172.17.0.2", 80, SILENCE_MS))).toBeUndefined();
    const again = await lab.open({ ownsTable: true });
    await again.reconcile(["web", "six", "spy", "friend"]);
    expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
    expect(() => theirs.commit([deleteTable(TABLE)])).toThrow("EPERM");
    await again.close();
  }, 30_000);
});
