import { expect, test } from "bun:test";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { Networks } from "../src/index.ts";
import { createRequest, openLab, sandboxRequest } from "./lab.ts";
import { openClient } from "./lookup.ts";

const QUERIES = 10_000;
const AT_A_TIME = 100;

testInPrivateNetwork(import.meta.path, "names, asked for from within network namespaces", () => {
  const on = (networks: Networks, id: string, names: string[], links?: Record<string, string>) =>
    networks.createSandbox({
      ...sandboxRequest(id),
      attachments: [{ network: "blue", names: [id, ...names], ...(links && { links }) }],
    });
  const address = (networks: Networks, id: string) => networks.endpoints(id)[0]?.ipAddress ?? "";

  test("of 10,000 queries none is lost, nor after the daemon was started anew", async () => {
    await using lab = openLab();
    let networks = await lab.open();
    await networks.create(createRequest("blue"));
    await on(networks, "web-1", ["web"]);
    await on(networks, "web-2", ["web"]);
    const { netnsPath } = await on(networks, "client", []);
    const both = [address(networks, "web-1"), address(networks, "web-2")].sort();
    const load = async (queries: number) => {
      using client = await openClient(netnsPath);
      let answered = 0;
      const asking = Array.from({ length: AT_A_TIME }, async () => {
        for (let query = 0; query < queries / AT_A_TIME; query++) {
          const name = query % 2 === 0 ? "web" : "WEB.blue".toLowerCase();
          if ((await client.lookUp(name))?.join() === both.join()) answered++;
        }
      });
      await Promise.all(asking);
      return answered;
    };
    expect(await load(QUERIES)).toBe(QUERIES);
    await networks.close();
    networks = await lab.open();
    await networks.reconcile(["web-1", "web-2", "client"]);
    expect(await load(QUERIES / 10)).toBe(QUERIES / 10);
    await networks.releaseSandbox("web-2");
    using client = await openClient(netnsPath);
    expect(await client.lookUp("web")).toEqual([address(networks, "web-1")]);
  });

  test("links: what a container alone calls another, beside the names that all know", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    await networks.create(createRequest("blue"));
    await on(networks, "db", ["postgres"]);
    const one = await on(networks, "one", [], { database: "DB" });
    const other = await on(networks, "other", []);
    using linked = await openClient(one.netnsPath);
    using others = await openClient(other.netnsPath);
    expect(await linked.lookUp("database")).toEqual([address(networks, "db")]);
    expect(await linked.lookUp("postgres")).toEqual([address(networks, "db")]);
    expect(await others.lookUp("database")).toEqual([]);
    await networks.rename("db", networks.inspect("blue").id, ["renamed", "db"]);
    expect(await linked.lookUp("database")).toEqual([address(networks, "db")]);
    expect(await linked.lookUp("postgres")).toEqual([]);
    expect(await linked.lookUp("renamed")).toEqual([address(networks, "db")]);
  });
});
