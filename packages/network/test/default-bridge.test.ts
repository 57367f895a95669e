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
});
