import { expect, test } from "bun:test";
import { isErrno } from "@longshore/errors";
import {
  addAddress,
  createDummy,
  createIpvlan,
  createMacvlan,
  createVlan,
  deleteLink,
  type NetlinkRequest,
  RouteSocket,
  setLink,
} from "../src/index.ts";
import { addNeighbour, address, type Neighbour, testInPrivateNetwork } from "../src/testing.ts";

testInPrivateNetwork(import.meta.path, "interfaces on top of others, in network namespaces", () => {
  /** Whether the kernel took it; one that lacks the kind of interface is no reason to fail. */
  const made = (route: RouteSocket, request: NetlinkRequest): boolean => {
    try {
      route.run(request);
      return true;
    } catch (error) {
      if (!isErrno(error, "EOPNOTSUPP")) throw error;
      console.log(`# skipped: ${request.what}: this kernel has no such interfaces`);
      return false;
    }
  };
  /** A neighbour whose cable goes with it. */
  const join = (name: string, ours: string, theirs: string): Neighbour => {
    const neighbour = addNeighbour(name, ours, theirs);
    const dispose = () => {
      using route = new RouteSocket();
      route.run(deleteLink(name));
      neighbour[Symbol.dispose]();
    };
    return { ...neighbour, [Symbol.dispose]: dispose };
  };
  const up = (route: RouteSocket, name: string, text: string): void => {
    const index = route.link(name)?.index ?? 0;
    route.run(
      addAddress({ index, address: address(text), prefixLength: 24 }),
      setLink({ index }, { up: true }),
    );
  };
  const serve = (hostname: string) =>
    Bun.listen({ hostname, port: 80, socket: { open: (s) => void s.end(s.remoteAddress), data() {} } });
  const ask = (hostname: string): Promise<string> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = {
      data: (_: unknown, data: Buffer) => resolve(data.toString()),
      connectError: (_: unknown, error: Error) => reject(error),
    };
    Bun.connect({ hostname, port: 80, socket }).catch(reject);
    // Whoever can't be reached says nothing for a long time.
    setTimeout(() => reject(new Error(`${hostname} does not answer`)), 5000).unref();
    return promise;
  };

  /** Our "cable" to a host of the LAN, 10.1.0.2, and a namespace that a new interface of the cable is to be in. */
  async function onLan(create: (parent: number, netns: number) => NetlinkRequest): Promise<void> {
    using route = new RouteSocket();
    using lan = join("cable", "10.1.0.1", "10.1.0.2");
    using box = join("to-box", "10.9.0.1", "10.9.0.2");
    if (!made(route, create(route.link("cable")?.index ?? 0, box.netns))) return;
    up(box.route, "on-lan", "10.1.0.7");
    using server = box.run(() => serve("10.1.0.7"));
    expect(server.port).toBe(80);
    expect(await lan.run(() => ask("10.1.0.7"))).toBe("10.1.0.2");
  }

  test("createMacvlan(): straight in another namespace, a host of the parent's network with a MAC address of its own", async () => {
    for (const mode of ["bridge", "private", "vepa"] as const)
      await onLan((parent, netns) =>
        createMacvlan({ name: "on-lan", parent, netns, mode, mac: "02:42:0a:01:00:07" }),
      );
  });

  test("createMacvlan(): neighbours reach each other in the mode bridge, and don't in private", async () => {
    using route = new RouteSocket();
    using lan = join("cable", "10.1.0.1", "10.1.0.2");
    using one = join("to-one", "10.8.0.1", "10.8.0.2");
    using two = join("to-two", "10.9.0.1", "10.9.0.2");
    expect(lan.route.link("eth0")?.up).toBe(true);
    const parent = route.link("cable")?.index ?? 0;
    for (const mode of ["bridge", "private"] as const) {
      for (const [name, box] of [["7", one] as const, ["8", two] as const]) {
        route.run(createMacvlan({ name: mode, parent, netns: box.netns, mode }));
        up(box.route, mode, `10.1.0.${name}`);
      }
      expect(one.route.link(mode)).toMatchObject({ kind: "macvlan", up: true });
      using server = one.run(() => serve("10.1.0.7"));
      expect(server.port).toBe(80);
      const answer = two.run(() => ask("10.1.0.7"));
      if (mode === "bridge") expect(await answer).toBe("10.1.0.8");
      else await expect(answer).rejects.toThrow();
      for (const box of [one, two]) box.route.run(deleteLink(mode));
    }
  });

  test("createIpvlan(): the same with the parent's MAC address", async () => {
    await onLan((parent, netns) =>
      createIpvlan({ name: "on-lan", parent, netns, mode: "l2", flag: "bridge" }),
    );
  });

  test("createVlan(): what both ends number reaches the other", async () => {
    using route = new RouteSocket();
    using lan = join("cable", "10.1.0.1", "10.1.0.2");
    const parent = route.link("cable")?.index ?? 0;
    if (!made(route, createVlan({ name: "cable.10", parent, vlan: 10 }))) return;
    expect(route.link("cable.10")).toMatchObject({ kind: "vlan", parent });
    lan.route.run(createVlan({ name: "eth0.10", parent: lan.route.link("eth0")?.index ?? 0, vlan: 10 }));
    up(route, "cable.10", "10.2.0.1");
    up(lan.route, "eth0.10", "10.2.0.2");
    using server = lan.run(() => serve("10.2.0.2"));
    expect(server.port).toBe(80);
    expect(await ask("10.2.0.2")).toBe("10.2.0.1");
    route.run(deleteLink("cable.10"));
    expect(route.link("cable.10")).toBeUndefined();
  });

  test("createDummy(): an interface that leads nowhere", () => {
    using route = new RouteSocket();
    if (!made(route, createDummy("nowhere"))) return;
    expect(route.link("nowhere")).toMatchObject({ kind: "dummy", parent: undefined });
    route.run(deleteLink("nowhere"));
  });
});
