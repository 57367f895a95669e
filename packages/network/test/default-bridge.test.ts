import { expect, test } from "bun:test";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import { ask, BRIDGE, inSandbox, openLab, openOutside, sandboxRequest, serveAddress } from "./lab.ts";

testInPrivateNetwork(import.meta.path, "settings of the default bridge", () => {
  test("icc, masquerade, host binding and MTU are carried out, also on a bridge that there is", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    await (await lab.open()).close();
    expect(lab.route.link(BRIDGE)?.mtu).toBe(1500);
    const networks = await lab.open({
      defaultBridge: { icc: false, masquerade: false, hostBinding: "127.0.0.1", mtu: 1400 },
    });
    expect(networks.inspect("bridge").options).toMatchObject({
      "com.docker.network.bridge.enable_icc": "false",
      "com.docker.network.bridge.enable_ip_masquerade": "false",
      "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
      "com.docker.network.driver.mtu": "1400",
    });
    const one = await networks.createSandbox({
      ...sandboxRequest("one"),
      ports: [{ protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [8080, 8080] }],
    });
    const two = await networks.createSandbox(sandboxRequest("two"));
    expect(one.ports).toEqual([{ protocol: "tcp", containerPort: 80, hostIp: "127.0.0.1", hostPort: 8080 }]);
    expect(lab.route.link(BRIDGE)?.mtu).toBe(1400);
    using inOne = inSandbox(one.netnsPath, () => serveAddress("0.0.0.0", 80));
    using inOutside = outside.run(() => serveAddress("198.51.100.2", 80));
    expect([inOne.port, inOutside.port]).toEqual([80, 80]);
    expect(await ask("127.0.0.1", 8080)).toBe("172.17.0.1");
    expect(await outside.run(() => ask("198.51.100.1", 8080, 300))).toBeUndefined();
    expect(await inSandbox(two.netnsPath, () => ask("172.17.0.2", 80, 300))).toBeUndefined();
    expect(await inSandbox(two.netnsPath, () => ask("198.51.100.2", 80))).toBe("172.17.0.3");
    for (const id of ["one", "two"]) await networks.releaseSandbox(id);
  });

  test("addresses from a part of the subnet, and another router than the bridge, of both families", async () => {
    await using lab = openLab();
    const networks = await lab.open({
      ...{ bip: "10.55.0.9/16", ipv6: "fd00:55::8:0/112" },
      defaultBridge: {
        ...{ bip6: "fd00:55::9/64", ipRange: "10.55.8.0/29", router: "10.55.8.1", router6: "fd00:55::8:1" },
      },
    });
    expect(networks.inspect("bridge").ipam).toEqual([
      {
        ...{ subnet: "10.55.0.0/16", gateway: "10.55.0.9", ipRange: "10.55.8.0/29" },
        auxiliary: { DefaultGatewayIPv4: "10.55.8.1" },
      },
      {
        ...{ subnet: "fd00:55::/64", gateway: "fd00:55::9", ipRange: "fd00:55::8:0/112" },
        auxiliary: { DefaultGatewayIPv6: "fd00:55::8:1" },
      },
    ]);
    const { netnsPath, endpoints } = await networks.createSandbox(sandboxRequest("one"));
    expect(endpoints).toMatchObject([
      {
        ...{ ipAddress: "10.55.8.0", gateway: "10.55.8.1" },
        ipv6: { address: "fd00:55::8:0", gateway: "fd00:55::8:1" },
      },
    ]);
    const ip = (...args: string[]) =>
      inSandbox(netnsPath, () => Bun.spawnSync(["ip", ...args]).stdout.toString());
    expect(ip("route")).toContain("default via 10.55.8.1 dev eth0");
    expect(ip("-6", "route")).toContain("default via fd00:55::8:1 dev eth0");
    // The routers' addresses are nobody's.
    const rest = await Promise.all(
      Array.from({ length: 6 }, (_, index) => networks.createSandbox(sandboxRequest(`more-${index}`))),
    );
    expect(rest.map(({ endpoints: [own] }) => own?.ipAddress)).not.toContain("10.55.8.1");
    await expect(networks.createSandbox(sandboxRequest("last"))).rejects.toThrow(
      "no available IPv4 addresses",
    );
    await networks.uninstall();

    const refused = (defaultBridge: object, words: string) =>
      expect(lab.open({ bip: "10.55.0.9/16", defaultBridge })).rejects.toThrow(words);
    await refused({ ipRange: "10.56.0.0/24" }, "fixed-cidr 10.56.0.0/24 is not in the subnet 10.55.0.0/16");
    await refused({ router: "10.56.0.1" }, "default-gateway 10.56.0.1 is not in the subnet 10.55.0.0/16");
    await refused({ router6: "fd00::1" }, "default-gateway-v6 fd00::1 is not in the subnet");
  });

  test("without bip the part is the whole subnet", async () => {
    await using lab = openLab();
    const networks = await lab.open({ defaultBridge: { ipRange: "10.57.4.0/24" } });
    expect(networks.inspect("bridge").ipam).toMatchObject([{ subnet: "10.57.4.0/24", gateway: "10.57.4.1" }]);
    const { endpoints } = await networks.createSandbox(sandboxRequest("one"));
    expect(endpoints).toMatchObject([{ ipAddress: "10.57.4.2", gateway: "10.57.4.1" }]);
  });
});
