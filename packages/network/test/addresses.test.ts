import { expect, test } from "bun:test";
import fs from "node:fs";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { Networks } from "../src/index.ts";
import { parseIpv4 } from "../src/ipv4.ts";
import { ask, createRequest, inSandbox, openLab, openOutside, sandboxRequest, serveAddress } from "./lab.ts";

testInPrivateNetwork(import.meta.path, "addresses and routes, in a network namespace of the test", () => {
  const on = (networks: Networks, id: string, ...names: string[]) =>
    networks.createSandbox({ ...sandboxRequest(id), attachments: names.map((network) => ({ network })) });

  test("pools: what the host uses is left alone, and when all is used up that is said", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const addressPools = [
      { base: "198.51.100.0/24", size: 25 },
      { base: "10.40.0.0/22", size: 24 },
    ];
    expect(outside.run(() => true)).toBe(true);
    const networks = await lab.open({ addressPools });
    expect(networks.inspect("bridge").ipam[0]?.subnet).toBe("10.40.0.0/24");
    for (const [name, subnet] of [
      ["one", "10.40.1.0/24"],
      ["two", "10.40.2.0/24"],
      ["three", "10.40.3.0/24"],
    ] as const)
      expect((await networks.create(createRequest(name))).ipam[0]?.subnet).toBe(subnet);
    await expect(networks.create(createRequest("four"))).rejects.toThrow(
      "all predefined address pools have been fully subnetted: networks or routes of the host use all of 198.51.100.0/24 in /25, 10.40.0.0/22 in /24",
    );
    await networks.create(createRequest("given", { subnet: "10.41.0.0/24" }));
    await networks.remove("two");
    expect((await networks.create(createRequest("four"))).ipam[0]?.subnet).toBe("10.40.2.0/24");
    await networks.close();
    await expect(lab.open({ addressPools: [{ base: "10.0.0.0/8", size: 4 }] })).rejects.toThrow(
      "invalid default address pool 10.0.0.0/8, size 4",
    );
  });

  test("a network that is full says so; what is released is given again, and never what is in use, whatever daemon asks", async () => {
    await using lab = openLab();
    let networks = await lab.open();
    await networks.create(
      createRequest("small", { subnet: "10.42.0.0/29", auxiliary: { router: "10.42.0.3" } }),
    );
    const addressOf = async (id: string) => (await on(networks, id, "small")).endpoints[0]?.ipAddress;
    const given = [await addressOf("a"), await addressOf("b"), await addressOf("c"), await addressOf("d")];
    expect(given).toEqual(["10.42.0.2", "10.42.0.4", "10.42.0.5", "10.42.0.6"]);
    await expect(on(networks, "e", "small")).rejects.toThrow(
      "no available IPv4 addresses on this network's address pools: small",
    );
    await networks.releaseSandbox("b");
    await networks.close();
    networks = await lab.open();
    await networks.reconcile(["a", "c", "d"]);
    expect(await addressOf("e")).toBe("10.42.0.4");
    await expect(on(networks, "f", "small")).rejects.toThrow("no available IPv4 addresses");
  });

  test("gateway priority: the default route is the highest's, also as networks come and go", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    using server = outside.run(() => serveAddress("198.51.100.2", 80));
    expect(server.port).toBe(80);
    const networks = await lab.open();
    for (const [name, subnet] of [
      ["low", "10.43.1.0/24"],
      ["high", "10.43.2.0/24"],
      ["higher", "10.43.3.0/24"],
    ] as const)
      await networks.create({
        ...createRequest(name, { subnet }),
        options: { "com.docker.network.bridge.enable_ip_masquerade": "false" },
      });
    const box = await networks.createSandbox({
      ...sandboxRequest("box"),
      attachments: [{ network: "low" }, { network: "high", gatewayPriority: 5 }],
    });
    // Nothing is translated: who answers sees by which network one came.
    const via = async () => (await inSandbox(box.netnsPath, () => ask("198.51.100.2", 80))) ?? "";
    expect(await via()).toStartWith("10.43.2.");
    await networks.connect(sandboxRequest("box"), { network: "higher", gatewayPriority: 9 });
    expect(await via()).toStartWith("10.43.3.");
    await networks.disconnect("box", networks.inspect("higher").id);
    expect(await via()).toStartWith("10.43.2.");
    await networks.disconnect("box", networks.inspect("high").id);
    expect(await via()).toStartWith("10.43.1.");
    // Of equal ones it is the first by its name.
    await networks.connect(sandboxRequest("box"), { network: "higher" });
    expect(await via()).toStartWith("10.43.3.");
    await networks.connect(sandboxRequest("box"), { network: "high" });
    expect(await via()).toStartWith("10.43.2.");
    // And before that one with IPv6 as well.
    await networks.create({
      ...createRequest("zz", { subnet: "10.43.4.0/24" }),
      ipam6: { subnet: "fd00:43::/64", ipRange: "", gateway: "", auxiliary: {} },
      options: { "com.docker.network.bridge.enable_ip_masquerade": "false" },
    });
    await networks.connect(sandboxRequest("box"), { network: "zz" });
    expect(await via()).toStartWith("10.43.4.");
  });

  test("interfaces have the names that they are given, and further addresses", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    for (const name of ["one", "two", "three"]) await networks.create(createRequest(name));
    const linkLocal = ["169.254.7.1", "fe80::7"];
    const box = await networks.createSandbox({
      ...sandboxRequest("box"),
      attachments: [{ network: "one" }, { network: "two", interfaceName: "eth0", linkLocal }],
    });
    expect(box.endpoints.map(({ interfaceName }) => interfaceName)).toEqual(["eth1", "eth0"]);
    const shown = () =>
      inSandbox(box.netnsPath, () => Bun.spawnSync(["ip", "-o", "address"]).stdout.toString());
    const lan = await networks.connect(sandboxRequest("box"), { network: "three", interfaceName: "lan" });
    expect(lan.interfaceName).toBe("lan");
    expect(shown()).toMatch(/ lan +inet /);
    expect(shown()).toMatch(/ eth0 +inet 169\.254\.7\.1\/16 /);
    expect(shown()).toMatch(/ eth0 +inet6 fe80::7\/64 /);
    await expect(
      networks.connect(sandboxRequest("box"), { network: "bridge", interfaceName: "lan" }),
    ).rejects.toThrow('interface name already in use: "lan"');
    for (const interfaceName of ["", "a/b", "far-too-long-a-name", "lo"])
      await expect(
        networks.createSandbox({
          ...sandboxRequest("bad"),
          attachments: [{ network: "one", interfaceName }],
        }),
      ).rejects.toThrow("interface name");
    await networks.disconnect("box", networks.inspect("three").id);
    expect(shown()).not.toContain(" lan ");
    // Known again by a daemon that starts anew.
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["box"]);
    expect(again.endpoints("box").map(({ interfaceName }) => interfaceName)).toEqual(["eth0", "eth1"]);
  });

  test("sysctls of an endpoint are its interface's; one that the kernel doesn't have is refused, and nothing is left", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const create = (id: string, sysctls: Record<string, string>) =>
      networks.createSandbox({ ...sandboxRequest(id), attachments: [{ network: "bridge", sysctls }] });
    const { netnsPath } = await create("one", { "net.ipv4.conf.IFNAME.log_martians": "1" });
    const read = (name: string) => fs.readFileSync(`/proc/sys/net/ipv4/conf/${name}/log_martians`, "utf8");
    expect(inSandbox(netnsPath, () => read("eth0"))).toBe("1\n");
    await expect(create("two", { "net.ipv4.conf.IFNAME.nope": "1" })).rejects.toThrow(
      "sysctl net.ipv4.conf.IFNAME.nope=1",
    );
    expect(networks.endpoints("two")).toEqual([]);
    expect(fs.readdirSync(`${lab.stateDir}/netns`)).toEqual(["one"]);
  });

  test("configurations for networks are kept, listed, and hold what they are used for", async () => {
    await using lab = openLab();
    const first = await lab.open();
    const template = createRequest("template", { subnet: "10.44.0.0/24", gateway: "10.44.0.7" });
    await first.create({ ...template, labels: { a: "b" }, configOnly: true });
    await first.close();
    const networks = await lab.open();
    expect(networks.inspect("template")).toMatchObject({
      ...{ configOnly: true, driver: "null", labels: { a: "b" } },
      ipam: [{ subnet: "10.44.0.0/24", gateway: "10.44.0.7" }],
    });
    const made = await networks.create({ ...createRequest("made"), configFrom: "template" });
    expect(made).toMatchObject({
      ...{ configFrom: "template", labels: { a: "b" } },
      ipam: [{ subnet: "10.44.0.0/24", gateway: "10.44.0.7" }],
    });
    const { endpoints } = await on(networks, "box", "made");
    expect(parseIpv4(endpoints[0]?.ipAddress ?? "")).toBe(parseIpv4("10.44.0.1"));
    await expect(networks.create(template)).rejects.toThrow("network with name template already exists");
    await expect(networks.remove("template")).rejects.toThrow("is in use");
    await expect(on(networks, "other", "template")).rejects.toThrow();
  });
});
