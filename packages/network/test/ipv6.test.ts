import { expect, test } from "bun:test";
import fs from "node:fs";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { PortRequest } from "../src/index.ts";
import {
  ask,
  BRIDGE,
  createRequest,
  inSandbox,
  openEcho,
  openLab,
  openOutside,
  sandboxRequest,
  serveAddress,
  serveEcho,
  until,
  untilSo,
} from "./lab.ts";
import { openClient } from "./lookup.ts";

const SUBNET = "fd00:6::/64";

testInPrivateNetwork(import.meta.path, "IPv6 between network namespaces of the test", () => {
  const on = (id: string, ...networks: string[]) => ({
    ...sandboxRequest(id),
    attachments: networks.map((network) => ({ network })),
  });
  const tcp = (hostIp: string, port: number): PortRequest => ({
    ...{ protocol: "tcp", containerPort: 80, hostIp, hostPorts: [port, port] },
  });

  test("a network with IPv6: addresses, neighbours, the outside by the host's address, nobody from there", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const facts = await networks.create(createRequest("six", {}, { subnet: SUBNET }));
    expect(facts).toMatchObject({ enableIpv6: true, ipam: [{}, { subnet: SUBNET, gateway: "fd00:6::1" }] });
    const one = await networks.createSandbox(on("one", "six"));
    const two = await networks.createSandbox(on("two", "six"));
    expect(one.endpoints[0]?.ipv6).toEqual({ address: "fd00:6::2", prefixLen: 64, gateway: "fd00:6::1" });
    expect(one.hosts).toContain("fd00:6::2\tone\n");
    expect(networks.inspect("six").containers["container-two"]?.ipv6Address).toBe("fd00:6::3/64");

    using inOne = inSandbox(one.netnsPath, () => serveAddress("::", 80));
    using inOutside = outside.run(() => serveAddress("::", 80));
    expect([inOne.port, inOutside.port]).toEqual([80, 80]);
    expect(await inSandbox(two.netnsPath, () => ask("fd00:6::2", 80))).toBe("fd00:6::3");
    expect(await ask("fd00:6::2", 80)).toBe("fd00:6::1");
    expect(await inSandbox(two.netnsPath, () => ask("2001:db8::2", 80))).toBe("2001:db8::1");
    expect(await outside.run(() => ask("fd00:6::2", 80, 300))).toBeUndefined();

    // Address by name, taken, out of the subnet, without IPv6; and what the next engine knows.
    const at = (id: string, network: string, ip6Address: string) =>
      networks.createSandbox({ ...sandboxRequest(id), attachments: [{ network, ip6Address }] });
    expect((await at("three", "six", "fd00:6::77")).endpoints[0]?.ipv6?.address).toBe("fd00:6::77");
    await expect(at("four", "six", "fd00:6:0::77")).rejects.toThrow("Address already in use");
    await expect(at("four", "six", "fd00:7::1")).rejects.toThrow("no configured subnet");
    await expect(at("four", "bridge", "fd00:6::9")).rejects.toThrow("no configured subnet");
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["one", "two", "three"]);
    expect(await inSandbox(two.netnsPath, () => ask("fd00:6::2", 80))).toBe("fd00:6::3");
    expect((await again.createSandbox(on("five", "six"))).endpoints[0]?.ipv6?.address).toBe("fd00:6::78");
    for (const id of ["one", "two", "three", "five"]) await again.releaseSandbox(id);
    await again.remove("six");
  });

  test("networks with IPv6 don't reach each other, internal ones not the outside, and icc=false holds", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const six = (name: string, number: number) => createRequest(name, {}, { subnet: `fd00:${number}::/64` });
    await networks.create(six("a", 1));
    await networks.create(six("b", 2));
    await networks.create({ ...six("inner", 3), internal: true });
    const icc = { "com.docker.network.bridge.enable_icc": "false" };
    await networks.create({ ...six("apart", 4), options: icc });
    const [a, b, inner, inner2, apart, apart2] = [
      await networks.createSandbox(on("a", "a")),
      await networks.createSandbox(on("b", "b")),
      await networks.createSandbox(on("inner", "inner")),
      await networks.createSandbox(on("inner2", "inner")),
      await networks.createSandbox(on("apart", "apart")),
      await networks.createSandbox(on("apart2", "apart")),
    ];
    using servers = new DisposableStack();
    for (const { netnsPath } of [a, inner, apart])
      servers.use(inSandbox(netnsPath, () => serveAddress("::", 80)));
    servers.use(outside.run(() => serveAddress("::", 80)));
    const reach = (from: typeof a, to: string) => inSandbox(from.netnsPath, () => ask(to, 80, 300));
    expect(await reach(b, "fd00:1::2")).toBeUndefined();
    expect(await reach(b, "2001:db8::2")).toBe("2001:db8::1");
    expect(await reach(inner2, "fd00:3::2")).toBe("fd00:3::3");
    expect(await reach(inner2, "2001:db8::2")).toBeUndefined();
    expect(await reach(inner2, "fd00:1::2")).toBeUndefined();
    expect(await reach(apart2, "fd00:4::2")).toBeUndefined();
    expect(await reach(apart2, "2001:db8::2")).toBe("2001:db8::1");
    for (const id of ["a", "b", "inner", "inner2", "apart", "apart2"]) await networks.releaseSandbox(id);
  });

  /** With the firewall of IPv6 called for what crosses bridges, answers to ::1 are taken for forged. */
  const BRIDGE_FIREWALL = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
  if (fs.existsSync(BRIDGE_FIREWALL)) fs.writeFileSync(BRIDGE_FIREWALL, "0");

  test("published ports by IPv6: from outside, the host, neighbours and the container itself; at ::1 from the host only", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    await networks.create(createRequest("six", {}, { subnet: SUBNET }));
    await networks.create(createRequest("other", {}, { subnet: "fd00:7::/64" }));
    const web = await networks.createSandbox({
      ...on("web", "six"),
      ports: [tcp("", 8080), tcp("::1", 8081), tcp("::", 8082), tcp("127.0.0.1", 8082)],
    });
    expect(web.ports.map(({ hostIp, hostPort }) => [hostIp, hostPort])).toEqual([
      ["0.0.0.0", 8080],
      ["::", 8080],
      ["::1", 8081],
      ["::", 8082],
      ["127.0.0.1", 8082],
    ]);
    const neighbour = await networks.createSandbox(on("neighbour", "six"));
    const stranger = await networks.createSandbox(on("stranger", "other"));
    using server = inSandbox(web.netnsPath, () => serveAddress("::", 80));
    expect(server.port).toBe(80);
    const everywhere = async () => {
      expect(await outside.run(() => ask("2001:db8::1", 8080))).toBe("2001:db8::2");
      expect(await outside.run(() => ask("198.51.100.1", 8080))).toContain("198.51.100.2");
      expect(await ask("2001:db8::1", 8080)).toBe("2001:db8::1");
      for (const port of [8080, 8081, 8082]) expect(await ask("::1", port)).toBe("fd00:6::1");
      for (const { netnsPath } of [neighbour, web])
        expect(await inSandbox(netnsPath, () => ask("2001:db8::1", 8080))).toBe("fd00:6::1");
      expect(await inSandbox(stranger.netnsPath, () => ask("2001:db8::1", 8080))).toBe("fd00:6::1");
      expect(await outside.run(() => ask("2001:db8::1", 8081, 300))).toBeUndefined();
      expect(await outside.run(() => ask("2001:db8::1", 8082))).toBe("2001:db8::2");
      expect(await outside.run(() => ask("198.51.100.1", 8082, 300))).toBeUndefined();
    };
    await everywhere();
    const taken = networks.createSandbox({ ...on("late", "six"), ports: [tcp("::1", 8080)] });
    await expect(taken).rejects.toThrow("Bind for [::1]:8080 failed: port is already allocated");
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["web", "neighbour", "stranger"]);
    await everywhere();

    // It goes on by the other network when it leaves this one.
    const added = await again.connect(on("web"), { network: "other" });
    expect(added.interfaceName).toBe("eth1");
    await again.disconnect("web", again.inspect("six").id);
    expect(await outside.run(() => ask("2001:db8::1", 8080))).toBe("2001:db8::2");
    await again.releaseSandbox("web");
    expect(await ask("::1", 8080)).toBeUndefined();
  });

  test("a network with IPv6 only: addresses, names, ports and the outside, whatever restarts; none of IPv4", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    let networks = await lab.open();
    const nothing = { subnet: "", ipRange: "", gateway: "", auxiliary: {} };
    const asked = {
      ...createRequest("six"),
      ...{ withoutIpv4: true, ipam6: { ...nothing, subnet: "fd00:66::/64" } },
    };
    const facts = await networks.create(asked);
    expect(facts).toMatchObject({ enableIpv4: false, enableIpv6: true });
    expect(facts.ipam).toEqual([{ subnet: "fd00:66::/64", gateway: "fd00:66::1" }]);
    const on = (id: string, more: object = {}) =>
      networks.createSandbox({
        ...sandboxRequest(id),
        attachments: [{ network: "six", names: [id] }],
        ...more,
      });
    const web = await on("web", {
      ports: [{ protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [8080, 8080] }],
    });
    const two = await on("two");
    expect(web.endpoints).toMatchObject([
      { ipAddress: "", prefixLen: 0, gateway: "", ipv6: { address: "fd00:66::2", gateway: "fd00:66::1" } },
    ]);
    expect(web.endpoints[0]?.macAddress).toMatch(/^02:42:/);
    expect(web.ports).toEqual([{ protocol: "tcp", containerPort: 80, hostIp: "::", hostPort: 8080 }]);
    expect(web.hosts).toContain("fd00:66::2");
    const ip = (...args: string[]) =>
      inSandbox(two.netnsPath, () => Bun.spawnSync(["ip", ...args]).stdout.toString());
    expect(ip("-4", "-o", "address", "show", "eth0")).toBe("");
    expect(ip("-4", "route")).toBe("");
    expect(ip("-6", "route")).toContain("default via fd00:66::1 dev eth0");
    using inWeb = inSandbox(web.netnsPath, () => serveAddress("::", 80));
    using beyond = outside.run(() => serveAddress("2001:db8::2", 80));
    expect([inWeb.port, beyond.port]).toEqual([80, 80]);
    const works = async () => {
      expect(await inSandbox(two.netnsPath, () => ask("fd00:66::2", 80))).toBe("fd00:66::3");
      expect(await inSandbox(two.netnsPath, () => ask("2001:db8::2", 80))).toBe("2001:db8::1");
      expect(await outside.run(() => ask("2001:db8::1", 8080))).toBe("2001:db8::2");
      using client = await openClient(two.netnsPath);
      expect(await client.lookUp("web")).toEqual([]);
    };
    await works();
    await networks.close();
    networks = await lab.open();
    await networks.reconcile(["web", "two"]);
    expect(networks.inspect("six").ipam).toEqual(facts.ipam);
    await works();
    // Beside another it has the default route of its own family only.
    await networks.connect(sandboxRequest("two"), { network: "bridge" });
    expect(ip("-4", "route")).toContain("default via 172.17.0.1 dev eth1");
    expect(ip("-6", "route")).toContain("default via fd00:66::1 dev eth0");
    await expect(on("bad", { attachments: [{ network: "six", ipAddress: "10.0.0.5" }] })).rejects.toThrow(
      "no configured subnet or ip-range contain the IP address 10.0.0.5",
    );
    await expect(
      on("bad", { ports: [{ protocol: "tcp", containerPort: 80, hostIp: "127.0.0.1" }] }),
    ).rejects.toThrow("the container has no IPv4");
    await expect(networks.create({ ...createRequest("neither"), withoutIpv4: true })).rejects.toThrow(
      "IPv4 or IPv6 must be enabled",
    );
    await expect(
      networks.create({ ...asked, name: "four", ipam: { ...nothing, subnet: "10.9.0.0/24" } }),
    ).rejects.toThrow("10.9.0.0/24 is of IPv4");
  });

  test("the default bridge has IPv6 when it is asked for, and the same subnet from then on", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    using inOutside = outside.run(() => serveAddress("::", 80));
    expect(inOutside.port).toBe(80);
    const networks = await lab.open({ ipv6: "" });
    const [, chosen] = networks.inspect("bridge").ipam;
    expect(chosen?.subnet).toMatch(/^fd[0-9a-f:]+::\/64$/);
    const { netnsPath } = await networks.createSandbox(sandboxRequest("one"));
    expect(await inSandbox(netnsPath, () => ask("2001:db8::2", 80))).toBe("2001:db8::1");
    await networks.releaseSandbox("one");
    await networks.close();
    const again = await lab.open({ ipv6: "" });
    expect(again.inspect("bridge").ipam[1]).toEqual(chosen);
    await again.close();
    const named = await lab.open({ ipv6: SUBNET });
    expect(named.inspect("bridge")).toMatchObject({ enableIpv6: true, ipam: [{}, { subnet: SUBNET }] });
    await named.close();
    const without = await lab.open();
    expect(without.inspect("bridge")).toMatchObject({ enableIpv6: false });
    expect(fs.readFileSync(`/proc/sys/net/ipv6/conf/${BRIDGE}/disable_ipv6`, "utf8")).toBe("1\n");
  });

  test("a client that keeps connections by the relay leaves places to others, and gets them back", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const web = await networks.createSandbox({ ...sandboxRequest("web"), ports: [tcp("", 8080)] });
    using server = inSandbox(web.netnsPath, () => serveEcho("0.0.0.0", 80));
    expect(server.port).toBe(80);
    let refused = 0;
    const hold = () =>
      outside.run(() =>
        Bun.connect({
          ...{ hostname: "2001:db8::1", port: 8080 },
          socket: { data() {}, close: () => void refused++ },
        }),
      );
    const held = await Promise.all(Array.from({ length: 530 }, hold));
    await until(() => refused >= 18);
    expect(refused).toBe(18);
    const exchange = async (open: () => ReturnType<typeof openEcho>) => {
      const echo = await open();
      await echo.exchange("hello");
      echo.close();
    };
    // Of another prefix.
    await exchange(() => openEcho("::1", 8080));
    for (const socket of held) socket.terminate();
    await untilSo(
      () =>
        exchange(() => outside.run(() => openEcho("2001:db8::1", 8080))).then(
          () => true,
          () => false,
        ),
      "the places are free again",
    );
  }, 30_000);

  test("a relay takes connections by IPv6 to containers that have IPv4 only", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const web = await networks.createSandbox({
      ...sandboxRequest("web"),
      ports: [
        tcp("", 8080),
        tcp("::1", 8081),
        tcp("2001:db8::1", 8082),
        { ...tcp("", 8083), containerPort: 7 },
      ],
    });
    using server = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
    using echo = inSandbox(web.netnsPath, () => serveEcho("0.0.0.0", 7));
    expect([server.port, echo.port]).toEqual([80, 7]);
    const everywhere = async () => {
      for (const port of [8080, 8081]) expect(await ask("::1", port)).toBe("172.17.0.1");
      for (const port of [8080, 8082]) {
        expect(await ask("2001:db8::1", port)).toBe("172.17.0.1");
        expect(await outside.run(() => ask("2001:db8::1", port))).toBe("172.17.0.1");
      }
      expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
      expect(await outside.run(() => ask("2001:db8::1", 8081, 300))).toBeUndefined();
      expect(await ask("::1", 8082)).toBeUndefined();
      const long = await outside.run(() => openEcho("2001:db8::1", 8083));
      for (let round = 0; round < 100; round++) await long.exchange("x".repeat(5000));
      long.close();
    };
    await everywhere();
    const udp = networks.createSandbox({
      ...sandboxRequest("udp"),
      ports: [{ ...tcp("::1", 53), protocol: "udp" }],
    });
    await expect(udp).rejects.toThrow("udp can't be published at [::1]: the container has no IPv6");
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["web"]);
    await everywhere();

    // On a network with IPv6 the kernel takes over.
    await again.create(createRequest("six", {}, { subnet: SUBNET }));
    await again.connect(on("web"), { network: "six" });
    using six = inSandbox(web.netnsPath, () => serveAddress("fd00:6::2", 80));
    expect(six.port).toBe(80);
    expect(await outside.run(() => ask("2001:db8::1", 8080))).toBe("2001:db8::2");
    await again.releaseSandbox("web");
    expect(await ask("::1", 8080)).toBeUndefined();
    expect(await outside.run(() => ask("2001:db8::1", 8080, 300))).toBeUndefined();
  });

  test.skipIf(!fs.existsSync(BRIDGE_FIREWALL))(
    "and those to ::1 that the kernel would take for forged",
    async () => {
      fs.writeFileSync(BRIDGE_FIREWALL, "1");
      await using lab = openLab();
      using outside = openOutside(lab.route);
      const networks = await lab.open();
      await networks.create(createRequest("six", {}, { subnet: SUBNET }));
      const web = await networks.createSandbox({
        ...on("web", "six"),
        ports: [tcp("", 8080), tcp("::1", 8081)],
      });
      using server = inSandbox(web.netnsPath, () => serveAddress("::", 80));
      expect(server.port).toBe(80);
      for (const port of [8080, 8081]) expect(await ask("::1", port)).toContain("172.18.0.1");
      expect(await outside.run(() => ask("2001:db8::1", 8080))).toBe("2001:db8::2");
      expect(await outside.run(() => ask("2001:db8::1", 8081, 300))).toBeUndefined();
      fs.writeFileSync(BRIDGE_FIREWALL, "0");
    },
  );

  test("a host that took its routes from a router still does when it forwards for a network with IPv6", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const read = (name: string) => fs.readFileSync(`/proc/sys/net/ipv6/conf/${name}`, "utf8").trim();
    fs.writeFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "0");
    fs.writeFileSync("/proc/sys/net/ipv6/conf/uplink/accept_ra", "1");
    const networks = await lab.open();
    expect(read("all/forwarding")).toBe("0");
    await networks.create(createRequest("six", {}, {}));
    expect([read("all/forwarding"), read("uplink/accept_ra")]).toEqual(["1", "2"]);
    expect(outside.run(() => 1)).toBe(1);
  });
});
