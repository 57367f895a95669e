import { expect, test } from "bun:test";
import fs from "node:fs";
import { addAddress, createVeth, deleteLink, RouteSocket, setLink } from "@longshore/netlink";
import { address, testInPrivateNetwork } from "@longshore/netlink/testing";
import { newMac } from "../src/bridge.ts";
import { bridgeNetwork } from "../src/bridge-network.ts";
import { BridgePorts } from "../src/bridge-ports.ts";
import type { Networks } from "../src/index.ts";
import { createNetns, inNetns } from "../src/netns.ts";
import { planNetwork } from "../src/user-networks.ts";
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
    const target = networks.endpoints("a")[0]?.ipAddress ?? "";
    const everybodyReachesA = async () => {
      for (const name of names.slice(1)) {
        using client = await openClient(boxes.get(name) ?? "");
        expect(await client.lookUp("a")).toEqual([target]);
        const own = networks.endpoints(name)[0]?.ipAddress;
        expect(await inSandbox(boxes.get(name) ?? "", () => ask(target, 80))).toBe(own);
      }
      expect(await ask(target, 80)).toBe("10.70.0.1");
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
    const target = boxes[0]?.endpoints[0]?.ipAddress ?? "";
    expect(await ask(target, 80)).toBe("10.71.0.1");
    for (const { netnsPath } of boxes.slice(1)) {
      expect(await inSandbox(netnsPath, () => ask(target, 80, 200))).toBeUndefined();
      using client = await openClient(netnsPath);
      expect(await client.lookUp("a")).toEqual([target]);
    }
  });

  test("IPv6 between bridges", async () => {
    await using lab = openLab();
    const networks = await lab.open({ portsOfBridge: 2 });
    await networks.create(createRequest("six", { subnet: "10.73.0.0/24" }, { subnet: "fd00:73::/64" }));
    const boxes = [];
    for (const name of ["a", "b", "c", "d"]) boxes.push(await on(networks, name, "six"));
    using server = inSandbox(boxes[0]?.netnsPath ?? "", () => serveAddress("::", 80));
    expect(server.port).toBe(80);
    const target = boxes[0]?.endpoints[0]?.ipv6?.address ?? "";
    for (const { netnsPath, endpoints } of boxes.slice(1))
      expect(await inSandbox(netnsPath, () => ask(target, 80, 20_000))).toBe(endpoints[0]?.ipv6?.address);
  });

  test("1,030 interfaces of one network reach each other", async () => {
    using route = new RouteSocket();
    using namespaces = new DisposableStack();
    const open = () => {
      const made = createNetns((fd) => ({ fd, route: new RouteSocket() }));
      namespaces.defer(() => fs.closeSync(made.fd));
      namespaces.use(made.route);
      return made;
    };
    const count = 1030;
    // The first and the last have a namespace each; all others, who only hear what is for everybody, share one.
    const [first, crowd, last] = [open(), open(), open()];
    const at = (number: number) => (number === 0 ? first : number === count - 1 ? last : crowd);
    const nothing = { ipv4: [], ipv6: [] };
    const record = planNetwork(createRequest("huge", { subnet: "10.72.0.0/16" }), nothing, newMac());
    const network = bridgeNetwork("huge", record, { link: "", options: {} });
    const ports = new BridgePorts(route, { changed() {} });
    ports.raise(network);
    namespaces.defer(() => ports.remove(network));
    for (let number = 0; number < count; number++) {
      const { fd, route: inner } = at(number);
      const [name, peer] = [`v${number}`, `e${number}`];
      route.run(createVeth({ name, peer: { name: peer, netns: fd } }));
      inner.run(setLink({ name: peer }, { up: true }));
      ports.join(network, name);
    }
    const plugged = ports.plugged(route.links());
    expect(plugged).toHaveLength(count);
    expect(ports.further()).toHaveLength(2);
    for (const [number, text] of [[0, "10.72.1.1"] as const, [count - 1, "10.72.1.2"] as const]) {
      const { index } = at(number).route.link(`e${number}`) ?? { index: 0 };
      at(number).route.run(addAddress({ index, address: address(text), prefixLength: 16 }));
    }
    using server = inNetns(first.fd, () => serveAddress("10.72.1.1", 80));
    expect(server.port).toBe(80);
    expect(await inNetns(last.fd, () => ask("10.72.1.1", 80, 20_000))).toBe("10.72.1.2");
    expect(await ask("10.72.1.1", 80, 20_000)).toBe("10.72.0.1");
  });
});
