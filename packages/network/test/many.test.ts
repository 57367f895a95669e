import { expect, test } from "bun:test";
import { deleteLink } from "@longshore/netlink";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { Networks } from "../src/index.ts";
import { ask, createRequest, inSandbox, openLab, sandboxRequest, serveAddress } from "./lab.ts";
import { openClient } from "./lookup.ts";

testInPrivateNetwork(import.meta.path, "more containers than a bridge of the kernel's has ports", () => {
  const on = (networks: Networks, id: string, network: string) =>
    networks.createSandbox({ ...sandboxRequest(id), attachments: [{ network, names: [id] }] });

  test("with few ports a bridge: containers of one network reach each other whatever bridge they are on", async () => {
    await using lab = openLab();
    let networks = await lab.open({ portsOfBridge: 3 });
    const { id } = await networks.create(createRequest("big", { subnet: "10.70.0.0/24" }));
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const boxes = new Map<string, string>();
    for (const name of names) {
      const { netnsPath } = await networks.createSandbox({
        ...sandboxRequest(name),
        attachments: [{ network: "big", names: [name] }],
        ports:
          name === "a" ? [{ protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [8070, 8070] }] : [],
      });
      boxes.set(name, netnsPath);
    }
    const bridges = () => lab.route.links().filter(({ kind }) => kind === "bridge").length;
    expect(bridges()).toBe(5); // the default one, and four of this network, of which all but the first have a cable
    using server = inSandbox(boxes.get("a") ?? "", () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    const address = networks.endpoints("a")[0]?.ipAddress ?? "";
    const everybodyReachesA = async () => {
      for (const name of names.slice(1)) {
        using client = await openClient(boxes.get(name) ?? "");
        expect(await client.lookUp("a")).toEqual([address]);
        const own = networks.endpoints(name)[0]?.ipAddress;
        expect(await inSandbox(boxes.get(name) ?? "", () => ask(address, 80))).toBe(own);
      }
      expect(await ask(address, 80)).toBe("10.70.0.1");
      // By its published port they come as the host, whatever bridge they are on.
      for (const name of names)
        expect(await inSandbox(boxes.get(name) ?? "", () => ask("10.70.0.1", 8070))).toBe("10.70.0.1");
    };
    await everybodyReachesA();

    await networks.close();
    networks = await lab.open({ portsOfBridge: 3 });
    await networks.reconcile(names);
    await everybodyReachesA();
    // A bridge that somebody has taken away comes back with all that was on it.
    lab.route.run(deleteLink(`b1-${id}`.slice(0, 15)));
    await networks.releaseSandbox("h");
    await on(networks, "i", "big");
    names.splice(names.indexOf("h"), 1);
    await everybodyReachesA();

    for (const name of [...names, "i"]) await networks.releaseSandbox(name);
    await networks.remove("big");
    expect(bridges()).toBe(1);
    expect(lab.route.links().filter(({ name }) => /^[bcd]\d-/.test(name))).toEqual([]);
  });

  test("icc=false holds between bridges as well", async () => {
    await using lab = openLab();
    const networks = await lab.open({ portsOfBridge: 2 });
    await networks.create({
      ...createRequest("apart", { subnet: "10.71.0.0/24" }),
      options: { "com.docker.network.bridge.enable_icc": "false" },
    });
    const boxes = [];
    for (const name of ["a", "b", "c", "d", "e"]) boxes.push(await on(networks, name, "apart"));
    using server = inSandbox(boxes[0]?.netnsPath ?? "", () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    const address = boxes[0]?.endpoints[0]?.ipAddress ?? "";
    expect(await ask(address, 80)).toBe("10.71.0.1");
    for (const { netnsPath } of boxes.slice(1)) {
      expect(await inSandbox(netnsPath, () => ask(address, 80, 200))).toBeUndefined();
      using client = await openClient(netnsPath);
      expect(await client.lookUp("a")).toEqual([address]);
    }
  });

  test("1,030 containers on one network: all have addresses, names, and reach each other", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    await networks.create(createRequest("huge", { subnet: "10.72.0.0/16" }));
    const count = 1030;
    const addresses = new Set<string | undefined>();
    const paths: string[] = [];
    for (let number = 0; number < count; number++) {
      const { endpoints, netnsPath } = await on(networks, `box-${number}`, "huge");
      addresses.add(endpoints[0]?.ipAddress);
      paths.push(netnsPath);
    }
    expect(addresses.size).toBe(count);
    const first = networks.endpoints("box-0")[0]?.ipAddress ?? "";
    using server = inSandbox(paths[0] ?? "", () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    for (const number of [1, 399, 400, 800, 1022, 1023, count - 1]) {
      const own = networks.endpoints(`box-${number}`)[0]?.ipAddress;
      expect(await inSandbox(paths[number] ?? "", () => ask(first, 80, 20_000))).toBe(own);
    }
    expect(await ask(first, 80, 20_000)).toBe("10.72.0.1");
    using client = await openClient(paths.at(-1) ?? "");
    expect(await client.lookUp("box-0")).toEqual([first]);
    for (let number = 0; number < count; number++) await networks.releaseSandbox(`box-${number}`);
    await networks.remove("huge");
  }, 120_000);
});
