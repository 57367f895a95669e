import { expect, test } from "bun:test";
import fs from "node:fs";
import { addAddress, deleteLink, RouteSocket } from "@longshore/netlink";
import { addNeighbour, address, type Neighbour, testInPrivateNetwork } from "@longshore/netlink/testing";
import type { Attachment, CreateNetwork, Networks } from "../src/index.ts";
import { ipv6Bytes, parseIpv6 } from "../src/ipv6.ts";
import { ask, createRequest, inSandbox, openLab, sandboxRequest, serveAddress } from "./lab.ts";
import { openClient } from "./lookup.ts";

testInPrivateNetwork(import.meta.path, "macvlan and ipvlan networks, with a host of the LAN", () => {
  /** A host of the LAN that our interface "cable" leads to: 10.50.0.2, and 10.51.0.1 beyond it. */
  const openLan = (route: RouteSocket): Neighbour => {
    const lan = addNeighbour("cable", "10.50.0.1", "10.50.0.2");
    const { index } = lan.route.link("eth0") ?? { index: 0 };
    lan.route.run(addAddress({ index, address: address("10.51.0.1"), prefixLength: 24 }));
    const dispose = () => {
      route.run(deleteLink("cable"));
      lan[Symbol.dispose]();
    };
    return { ...lan, [Symbol.dispose]: dispose };
  };
  const request = (name: string, options: Record<string, string>, more: Partial<CreateNetwork> = {}) => ({
    ...createRequest(name, { subnet: "10.50.0.0/24", ipRange: "10.50.0.128/25", gateway: "10.50.0.2" }),
    ...{ driver: "macvlan" as const, options },
    ...more,
  });
  const on = (networks: Networks, id: string, ...attachments: Attachment[]) =>
    networks.createSandbox({
      ...sandboxRequest(id),
      attachments: attachments.map((one) => ({ names: [id], ...one })),
    });
  const linksIn = (netnsPath: string) =>
    inSandbox(netnsPath, () => fs.readFileSync("/proc/thread-self/net/dev", "utf8"))
      .match(/\w+(?=:)/g)
      ?.sort();

  test("macvlan: containers are hosts of the LAN, with names, whatever restarts", async () => {
    await using lab = openLab();
    using lan = openLan(lab.route);
    let networks = await lab.open();
    const created = await networks.create(request("lan", { parent: "cable" }));
    expect(created).toMatchObject({
      ...{ driver: "macvlan", internal: false, options: { parent: "cable" } },
      ipam: [{ subnet: "10.50.0.0/24", ipRange: "10.50.0.128/25", gateway: "10.50.0.2" }],
    });
    const one = await on(networks, "one", { network: "lan", mac: "02:42:aa:bb:cc:dd" });
    const two = await on(networks, "two", { network: "lan", ipAddress: "10.50.0.77" });
    expect(one.endpoints[0]).toMatchObject({ ipAddress: "10.50.0.128", gateway: "10.50.0.2" });
    expect(linksIn(one.netnsPath)).toEqual(["eth0", "lo"]);
    const mac = inSandbox(one.netnsPath, () => {
      using route = new RouteSocket();
      return route.link("eth0")?.mac;
    });
    expect(mac).toBe("02:42:aa:bb:cc:dd");
    using inOne = inSandbox(one.netnsPath, () => serveAddress("0.0.0.0", 80));
    using beyond = lan.run(() => serveAddress("10.51.0.1", 80));
    expect([inOne.port, beyond.port]).toEqual([80, 80]);
    expect(await lan.run(() => ask("10.50.0.128", 80))).toBe("10.50.0.2");
    expect(await inSandbox(two.netnsPath, () => ask("10.50.0.128", 80))).toBe("10.50.0.77");
    expect(await inSandbox(two.netnsPath, () => ask("10.51.0.1", 80))).toBe("10.50.0.77");
    {
      using client = await openClient(two.netnsPath);
      expect(await client.lookUp("one")).toEqual(["10.50.0.128"]);
      expect(await client.lookUp("two.lan")).toEqual(["10.50.0.77"]);
    }
    await expect(on(networks, "three", { network: "lan", ipAddress: "10.50.0.77" })).rejects.toThrow(
      "Address already in use",
    );

    // One that comes after the other has its MAC address at once.
    for (let round = 0; round < 5; round++) {
      await networks.releaseSandbox("one");
      const again = await on(networks, "one", { network: "lan", mac: "02:42:aa:bb:cc:dd" });
      expect(again.endpoints[0]?.macAddress).toBe("02:42:aa:bb:cc:dd");
    }
    // Nobody gets the address that the host has there.
    await expect(on(networks, "three", { network: "lan", ipAddress: "10.50.0.1" })).rejects.toThrow(
      "Address already in use",
    );

    await networks.close();
    networks = await lab.open();
    await networks.reconcile(["two"]);
    expect(Object.keys(networks.inspect("lan").containers)).toEqual(["container-two"]);
    using client = await openClient(two.netnsPath);
    expect(await client.lookUp("two")).toEqual(["10.50.0.77"]);
    expect(await lan.run(() => ask("10.50.0.128", 80, 300))).toBeUndefined();
    await expect(networks.remove("lan")).rejects.toThrow("has active endpoints");
    await networks.releaseSandbox("two");
    await networks.remove("lan");
    expect(lab.route.link("cable")?.up).toBe(true);
  });

  test("several subnets, and IPv6: each address with the router of its subnet, whatever restarts", async () => {
    await using lab = openLab();
    using lan = openLan(lab.route);
    const { index } = lan.route.link("eth0") ?? { index: 0 };
    lan.run(() => fs.writeFileSync("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0"));
    lan.run(() => fs.writeFileSync("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0"));
    lan.route.run(
      addAddress({ index, address: address("10.58.0.1"), prefixLength: 29 }),
      addAddress({ index, address: ipv6Bytes(parseIpv6("fd00:58::1") ?? 0n), prefixLength: 64 }),
      addAddress({ index, address: ipv6Bytes(parseIpv6("fd00:59::1") ?? 0n), prefixLength: 64 }),
    );
    const ipam = (subnet: string, more: object = {}) => ({
      ...{ subnet, ipRange: "", gateway: "", auxiliary: {} },
      ...more,
    });
    let networks = await lab.open();
    const asked = request(
      "lan",
      { parent: "cable" },
      {
        ipam: ipam("10.50.0.0/29", {
          gateway: "10.50.0.2",
          auxiliary: { ours: "10.50.0.1", printer: "10.50.0.3" },
        }),
        furtherIpam: [ipam("10.58.0.0/29", { auxiliary: { nas: "10.58.0.2" } })],
        ipam6: ipam("fd00:58::/64"),
        furtherIpam6: [ipam("fd00:59::/64", { ipRange: "fd00:59::8:0/112", gateway: "fd00:59::1" })],
      },
    );
    const shown = [
      {
        ...{ subnet: "10.50.0.0/29", gateway: "10.50.0.2" },
        auxiliary: { ours: "10.50.0.1", printer: "10.50.0.3" },
      },
      { subnet: "10.58.0.0/29", gateway: "10.58.0.1", auxiliary: { nas: "10.58.0.2" } },
      { subnet: "fd00:58::/64", gateway: "fd00:58::1" },
      { subnet: "fd00:59::/64", gateway: "fd00:59::1", ipRange: "fd00:59::8:0/112" },
    ];
    expect((await networks.create(asked)).ipam).toEqual(shown);
    for (const [subnet, family] of [
      ["10.58.0.0/24", "ipam"],
      ["fd00:59::/48", "ipam6"],
    ] as const)
      await expect(
        networks.create({
          ...request("again", { parent: "cable" }, { ipam: ipam("10.66.0.0/24") }),
          [family]: ipam(subnet),
        }),
      ).rejects.toThrow("Pool overlaps with other one on this address space");
    const near = await on(networks, "near", { network: "lan" });
    const far = await on(networks, "far", {
      ...{ network: "lan", ipAddress: "10.58.0.5", ip6Address: "fd00:59::8:7" },
    });
    expect(near.endpoints).toMatchObject([
      {
        ...{ ipAddress: "10.50.0.4", prefixLen: 29, gateway: "10.50.0.2" },
        ipv6: { address: "fd00:58::2", prefixLen: 64, gateway: "fd00:58::1" },
      },
    ]);
    expect(far.endpoints).toMatchObject([
      {
        ...{ ipAddress: "10.58.0.5", prefixLen: 29, gateway: "10.58.0.1" },
        ipv6: { address: "fd00:59::8:7", prefixLen: 64, gateway: "fd00:59::1" },
      },
    ]);
    const ip = (netnsPath: string, ...args: string[]) =>
      inSandbox(netnsPath, () => Bun.spawnSync(["ip", ...args]).stdout.toString());
    expect(ip(far.netnsPath, "route")).toContain("default via 10.58.0.1 dev eth0");
    expect(ip(far.netnsPath, "-6", "route")).toContain("default via fd00:59::1 dev eth0");
    // By the router, since they are of different subnets.
    using beyond = lan.run(() => serveAddress("::", 80));
    expect(beyond.port).toBe(80);
    expect(await inSandbox(far.netnsPath, () => ask("10.51.0.1", 80))).toBe("::ffff:10.58.0.5");
    expect(await inSandbox(far.netnsPath, () => ask("fd00:58::1", 80))).toBe("fd00:59::8:7");
    expect(await inSandbox(near.netnsPath, () => ask("fd00:59::1", 80))).toBe("fd00:58::2");
    {
      using client = await openClient(near.netnsPath);
      expect(await client.lookUp("far")).toEqual(["10.58.0.5"]);
    }

    await networks.close();
    networks = await lab.open();
    await networks.reconcile(["near", "far"]);
    expect(networks.inspect("lan").ipam).toEqual(shown);
    // The first subnet has two more, then come those of the second; none is given twice.
    const rest: string[] = [];
    for (let number = 0; number < 4; number++) {
      const { endpoints } = await on(networks, `more-${number}`, { network: "lan" });
      rest.push(endpoints[0]?.ipAddress ?? "");
    }
    expect(rest).toEqual(["10.50.0.5", "10.50.0.6", "10.58.0.6", "10.58.0.3"]);
    await networks.releaseSandbox("far");
    const wanted = { network: "lan", ipAddress: "10.58.0.5" };
    expect((await on(networks, "next", wanted)).endpoints[0]?.ipAddress).toBe("10.58.0.5");
    await expect(on(networks, "clash", wanted)).rejects.toThrow("Address already in use");
    await expect(on(networks, "none", { network: "lan", ipAddress: "10.59.0.5" })).rejects.toThrow(
      "no configured subnet or ip-range contain the IP address 10.59.0.5",
    );
  });

  test("IPv6 alone: an interface with no address of IPv4, and what is left of the network's addresses", async () => {
    await using lab = openLab();
    using _lan = openLan(lab.route);
    let networks = await lab.open();
    const none = { subnet: "", ipRange: "", gateway: "", auxiliary: {} };
    const ipam6 = {
      ...none,
      subnet: "fd00:58::/64",
      ipRange: "fd00:58::/120",
      auxiliary: { nas: "fd00:58::9" },
    };
    const six = { ...request("six", { parent: "cable" }), ipam: none, withoutIpv4: true };
    await expect(networks.create(six)).rejects.toThrow("IPv4 or IPv6 must be enabled");
    const told = { ...six, ipam: { ...none, subnet: "10.50.0.0/24" }, ipam6 };
    await expect(networks.create(told)).rejects.toThrow("10.50.0.0/24 is of IPv4");
    const { id } = await networks.create({ ...six, ipam6 });
    await networks.close();
    networks = await lab.open();
    expect(networks.inspect("six")).toMatchObject({ enableIpv4: false, enableIpv6: true });
    const box = await on(networks, "box", { network: "six" });
    expect(box.endpoints).toMatchObject([
      { ipAddress: "", gateway: "", ipv6: { address: "fd00:58::2", gateway: "fd00:58::1" } },
    ]);
    const shown = inSandbox(box.netnsPath, () => Bun.spawnSync(["ip", "address", "show", "eth0"]).stdout);
    expect(shown.toString()).toContain("inet6 fd00:58::2/64");
    expect(shown.toString()).not.toContain("inet ");
    // The first address, the gateway's, the one that others use, and the container's.
    const counts = new Map([["fd00:58::/64", { inUse: 4n, available: 252n }]]);
    expect(networks.addressCounts(id)).toEqual(counts);
    await networks.releaseSandbox("box");
    await networks.remove("six");
    await networks.close();
  });

  test("connect and disconnect, beside a bridge: routes and names go with the networks", async () => {
    await using lab = openLab();
    using lan = openLan(lab.route);
    const networks = await lab.open();
    await networks.create(request("lan", { parent: "cable" }));
    const blue = await networks.create(createRequest("blue", { subnet: "10.52.0.0/24" }));
    const box = await on(networks, "box", { network: "blue" });
    const peer = await on(networks, "peer", { network: "lan" });
    using beyond = lan.run(() => serveAddress("10.51.0.1", 80));
    expect(beyond.port).toBe(80);
    const added = await networks.connect(sandboxRequest("box"), { network: "lan", names: ["box"] });
    expect(added).toMatchObject({ interfaceName: "eth1", ipAddress: "10.50.0.129" });
    const lookUp = async (path: string, name: string) => {
      using client = await openClient(path);
      return await client.lookUp(name);
    };
    expect(await lookUp(box.netnsPath, "peer")).toEqual(["10.50.0.128"]);
    expect(await lookUp(peer.netnsPath, "box")).toEqual(["10.50.0.129"]);
    // The bridge's host answers for names, and has the default route, until the bridge is gone.
    await networks.disconnect("box", blue.id);
    expect(await inSandbox(box.netnsPath, () => ask("10.51.0.1", 80))).toBe("10.50.0.129");
    expect(await lookUp(box.netnsPath, "peer")).toEqual(["10.50.0.128"]);
    await networks.disconnect("box", networks.inspect("lan").id);
    expect(linksIn(box.netnsPath)).toEqual(["lo"]);
    expect(networks.endpoints("box")).toEqual([]);
  });

  test("without a parent it leads nowhere, on an interface that goes with it; its containers reach each other", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const { id, internal } = await networks.create(request("alone", {}));
    expect(internal).toBe(true);
    const parent = `dm-${id.slice(0, 12)}`;
    expect(lab.route.link(parent)?.up).toBe(true);
    const one = await on(networks, "one", { network: "alone" });
    const two = await on(networks, "two", { network: "alone" });
    expect(one.endpoints[0]?.gateway).toBe("");
    using server = inSandbox(one.netnsPath, () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    const address = one.endpoints[0]?.ipAddress ?? "";
    expect(await inSandbox(two.netnsPath, () => ask(address, 80))).toBe(two.endpoints[0]?.ipAddress);
    const routes = inSandbox(two.netnsPath, () => fs.readFileSync("/proc/thread-self/net/route", "utf8"));
    expect(routes.trim().split("\n")).toHaveLength(2); // the heading, and the subnet's own
    for (const sandbox of ["one", "two"]) await networks.releaseSandbox(sandbox);
    await networks.remove("alone");
    expect(lab.route.link(parent)).toBeUndefined();
  });

  test("what can't be is refused in Docker's words, and nothing is made", async () => {
    await using lab = openLab();
    using lan = openLan(lab.route);
    expect(lan.route.link("eth0")).toBeDefined();
    const networks = await lab.open();
    const before = networks.list();
    const links = lab.route.links().length;
    const refused = (words: string, options: Record<string, string>, more: Partial<CreateNetwork> = {}) =>
      expect(networks.create(request("x", options, more))).rejects.toThrow(words);
    await refused("loopback interface is not a valid macvlan parent link", { parent: "lo" });
    await refused("requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default", {
      ...{ parent: "cable", macvlan_mode: "odd" },
    });
    await refused(
      "requested ipvlan mode 'l9' is not valid, 'l2' mode is the ipvlan driver default",
      { parent: "cable", ipvlan_mode: "l9" },
      { driver: "ipvlan" },
    );
    await refused("network option ipvlan_mode is not supported", { ipvlan_mode: "l2" });
    await refused("invalid subinterface vlan name nope, example formatting is eth0.10", { parent: "nope" });
    await refused("-o parent interface was not found on the host: nope", { parent: "nope.10" });
    await refused("vlan id must be between 1-4094, received: 5000", { parent: "cable.5000" });
    await refused("unable to parse a valid vlan id from: x", { parent: "cable.x" });
    await networks.create(request("lan", { parent: "cable" }));
    await refused("Pool overlaps with other one on this address space", { parent: "cable" });
    const other = createRequest("y", { subnet: "10.53.0.0/24" }).ipam;
    await refused(
      "cannot use mode passthru, macvlan network",
      { parent: "cable", macvlan_mode: "passthru" },
      { ipam: other },
    );
    await networks.remove("lan");
    expect(networks.list()).toEqual(before);
    expect(lab.route.links()).toHaveLength(links);
  });

  test("VLANs and ipvlan, where the kernel has them", async () => {
    await using lab = openLab();
    using lan = openLan(lab.route);
    const networks = await lab.open();
    /** Undefined when the kernel hasn't got such interfaces: then nothing may be left. */
    const attempt = async <T>(what: string, work: Promise<T>): Promise<T | undefined> => {
      try {
        return await work;
      } catch (error) {
        const lacks = error instanceof Error && error.message.includes("EOPNOTSUPP");
        if (!lacks || process.env.LONGSHORE_TEST_ALL_LINKS) throw error;
        console.log(`# skipped: ${what}: this kernel has none`);
        return undefined;
      }
    };
    const vlan = await attempt("VLANs", networks.create(request("tagged", { parent: "cable.10" })));
    expect(lab.route.link("cable.10")?.kind).toBe(vlan ? "vlan" : undefined);
    if (vlan) await networks.remove("tagged");
    expect(lab.route.link("cable.10")).toBeUndefined();
    expect(networks.list().map(({ name }) => name)).not.toContain("tagged");
    for (const mode of ["l2", "l3"]) {
      await networks.create(request(mode, { parent: "cable", ipvlan_mode: mode }, { driver: "ipvlan" }));
      const box = await attempt("ipvlan", on(networks, mode, { network: mode }));
      expect(networks.endpoints(mode)).toHaveLength(box ? 1 : 0);
      if (box) {
        using server = inSandbox(box.netnsPath, () => serveAddress("0.0.0.0", 80));
        expect(server.port).toBe(80);
        expect(await lan.run(() => ask(box.endpoints[0]?.ipAddress ?? "", 80))).toBe("10.50.0.2");
        await networks.releaseSandbox(mode);
      }
      await networks.remove(mode);
    }
  });
});
