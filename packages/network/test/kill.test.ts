import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { createBridge, deleteLink, RouteSocket, setLink } from "@longshore/netlink";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import { ask, BRIDGE, createRequest, inSandbox, openLab, sandboxRequest, serveAddress } from "./lab.ts";
import { openClient } from "./lookup.ts";

const ROUNDS = 15;

testInPrivateNetwork(import.meta.path, "a daemon that is killed while it connects and disconnects", () => {
  test("leaves each network whole or not there at all", async () => {
    await using lab = openLab();
    lab.route.run(createBridge({ name: "parent" }), setLink({ name: "parent" }, { up: true }));
    const first = await lab.open();
    await first.create(createRequest("blue", { subnet: "10.81.0.0/24" }));
    await first.create(createRequest("red", { subnet: "10.82.0.0/24" }));
    await first.create({
      ...createRequest("mac", { subnet: "10.83.0.0/24" }),
      ...{ driver: "macvlan", options: { parent: "parent" }, internal: true },
    });
    const { netnsPath } = await first.createSandbox(sandboxRequest("alive"));
    using server = inSandbox(netnsPath, () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    await first.close();

    for (let round = 0; round < ROUNDS; round++) {
      const churn = path.join(import.meta.dir, "connect-churn.ts");
      const child = Bun.spawn([process.execPath, churn, lab.database, lab.stateDir], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await child.stdout.getReader().read();
      await Bun.sleep(Math.random() * 40);
      child.kill("SIGKILL");
      await child.exited;

      const networks = await lab.open();
      await networks.reconcile(["alive"]);
      const endpoints = networks.endpoints("alive");
      // One interface for each network, with its address; a port of a bridge for each that has one.
      const inside = inSandbox(netnsPath, () => {
        using route = new RouteSocket();
        const addresses = route
          .addresses()
          .filter(({ address }) => address.byteLength === 4 && address[0] !== 127)
          .map(({ address }) => address.join("."));
        return { links: route.links().map(({ name }) => name), addresses, routes: route.routes() };
      });
      const expected = endpoints.map(({ ipAddress }) => ipAddress);
      for (const address of expected) expect(inside.addresses).toContain(address);
      expect(inside.links.sort()).toEqual(
        ["lo", ...endpoints.map(({ interfaceName }) => interfaceName)].sort(),
      );
      const plugged = lab.route.links().filter(({ kind }) => kind === "veth");
      expect(plugged).toHaveLength(endpoints.filter(({ driver }) => !driver).length);
      const bridged = endpoints.filter(({ driver }) => !driver);
      const defaults = inside.routes.filter(({ destination }) => destination.byteLength === 0);
      expect(defaults).toHaveLength(bridged.length > 0 ? 1 : 0);
      for (const { ipAddress, gateway } of bridged) expect(await ask(ipAddress, 80)).toBe(gateway);
      if (endpoints.some(({ networkName }) => networkName !== "bridge")) {
        using client = await openClient(netnsPath);
        expect(await client.lookUp("nobody.invalid")).toEqual([]);
      }
      await networks.close();
    }
    expect(fs.readdirSync(path.join(lab.stateDir, "netns"))).toEqual(["alive"]);
    expect(lab.route.link(BRIDGE)?.kind).toBe("bridge");
    lab.route.run(deleteLink("parent"));
  }, 120_000);
});
