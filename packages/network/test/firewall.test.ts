import { expect, test } from "bun:test";
import fs from "node:fs";
import {
  createBridge,
  deleteLink,
  deleteTable,
  flushChain,
  flushSet,
  NftablesSocket,
  RouteSocket,
} from "@longshore/netlink";
import { testInPrivateNetwork } from "@longshore/netlink/testing";
import type { PortRequest } from "../src/index.ts";
import { openFirewalld } from "./firewalld.ts";
import {
  ask,
  BRIDGE,
  createRequest,
  inSandbox,
  openLab,
  openOutside,
  sandboxRequest,
  serveAddress,
  untilSo,
} from "./lab.ts";

const TABLE = { family: "inet", name: BRIDGE } as const;

testInPrivateNetwork(import.meta.path, "the firewall beside others that change nftables", () => {
  const port = (hostPort: number): PortRequest => ({
    ...{ protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [hostPort, hostPort] },
  });
  const nft = (...words: string[]): string => {
    const { success, stdout, stderr } = Bun.spawnSync(["nft", ...words]);
    if (!success) throw new Error(stderr.toString());
    return stdout.toString();
  };

  test("what others flush or delete of ours is put back without being asked", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    await networks.create(createRequest("blue"));
    const web = await networks.createSandbox({ ...sandboxRequest("web"), ports: [port(8080)] });
    const blue = await networks.createSandbox({
      ...sandboxRequest("blue"),
      attachments: [{ network: "blue" }],
    });
    using server = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
    using stranger = outside.run(() => serveAddress("198.51.100.2", 80));
    expect([server.port, stranger.port]).toEqual([80, 80]);
    const isWhole = async () =>
      (await outside.run(() => ask("198.51.100.1", 8080, 2000))) === "198.51.100.2" &&
      (await ask("127.0.0.1", 8080, 2000)) === "172.17.0.1" &&
      (await inSandbox(web.netnsPath, () => ask("198.51.100.2", 80, 2000))) === "198.51.100.1" &&
      (await inSandbox(blue.netnsPath, () => ask("172.17.0.2", 80, 300))) === undefined;
    await untilSo(isWhole, "all is as it should be");
    using socket = new NftablesSocket();
    const damage: [string, Parameters<typeof socket.commit>[0]][] = [
      ["table", [deleteTable(TABLE)]],
      ["rules", [flushChain(TABLE, "forward"), flushChain(TABLE, "postrouting")]],
      ["ports", [flushSet(TABLE, "ports")]],
    ];
    for (const [what, requests] of damage) {
      socket.commit(requests);
      await untilSo(isWhole, `the ${what} are back`);
    }
  });

  test.skipIf(!Bun.which("nft"))("a flush of everything by nft, and a reload of nftables.conf", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const web = await networks.createSandbox({ ...sandboxRequest("web"), ports: [port(8080)] });
    using server = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    for (let round = 0; round < 3; round++) {
      nft(
        "flush ruleset; add table inet filter; add chain inet filter forward { type filter hook forward priority 0 ; policy accept ; }",
      );
      await untilSo(async () => (await ask("127.0.0.1", 8080, 2000)) === "172.17.0.1", "the port is back");
    }
    nft("delete table inet filter");
  });

  test.skipIf(!Bun.which("nft"))(
    "the administrator's chain decides on published ports, and stays whatever happens to ours",
    async () => {
      await using lab = openLab();
      using outside = openOutside(lab.route);
      const networks = await lab.open();
      const ports = [port(8080), port(8081)];
      const web = await networks.createSandbox({ ...sandboxRequest("web"), ports });
      using server = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
      expect(server.port).toBe(80);
      const reach = (at: number, timeoutMs = 5000) => outside.run(() => ask("198.51.100.1", at, timeoutMs));
      expect([await reach(8080), await reach(8081)]).toEqual(["198.51.100.2", "198.51.100.2"]);
      nft(
        `add rule inet ${BRIDGE}_user forward ip saddr 198.51.100.0/24 meta l4proto tcp ct original proto-dst 8081 drop`,
      );
      const holds = async () => {
        expect([await reach(8080), await reach(8081, 300)]).toEqual(["198.51.100.2", undefined]);
        // The host itself is not forwarded.
        expect(await ask("127.0.0.1", 8081)).toBe("172.17.0.1");
      };
      await holds();
      await networks.create(createRequest("blue"));
      await holds();
      await networks.close();
      const again = await lab.open();
      await again.reconcile(["web"]);
      await holds();
      nft(`add chain inet ${BRIDGE}_user forward { policy drop ; }`);
      await again.remove("blue");
      expect([await reach(8080, 300), await reach(8081, 300)]).toEqual([undefined, undefined]);
      await again.uninstall();
      expect(nft("list tables")).toBe("");
    },
  );

  test.skipIf(!Bun.which("iptables-nft"))(
    "a real Docker that comes later lets us pass, and is kept from",
    async () => {
      await using lab = openLab();
      using outside = openOutside(lab.route);
      const networks = await lab.open();
      await networks.create(createRequest("six", {}, { subnet: "fd00:6::/64" }));
      const web = await networks.createSandbox({
        ...sandboxRequest("web"),
        attachments: [{ network: "six" }],
        ports: [port(8080)],
      });
      using server = inSandbox(web.netnsPath, () => serveAddress("::", 80));
      expect(server.port).toBe(80);
      const iptables = (...words: string[]) => {
        for (const program of ["iptables-nft", "ip6tables-nft"]) {
          const result = Bun.spawnSync([program, "-w", ...words]);
          if (!result.success) throw new Error(result.stderr.toString());
        }
      };
      lab.route.run(createBridge({ name: "docker0" }));
      iptables("-P", "FORWARD", "DROP");
      iptables("-N", "DOCKER-USER");
      iptables("-A", "DOCKER-USER", "-j", "RETURN");
      iptables("-I", "FORWARD", "-j", "DOCKER-USER");
      const isReached = async () =>
        (await outside.run(() => ask("198.51.100.1", 8080, 2000)))?.endsWith("198.51.100.2") === true &&
        (await outside.run(() => ask("2001:db8::1", 8080, 2000))) === "2001:db8::2";
      await untilSo(isReached, "Docker's chains let our traffic pass");
      using socket = new NftablesSocket();
      await untilSo(() => socket.setLinks(TABLE, "foreign_bridges").includes("docker0"), "docker0 is known");
      // It starts anew, which rewrites its chains.
      iptables("-F", "DOCKER-USER");
      iptables("-A", "DOCKER-USER", "-j", "RETURN");
      await untilSo(isReached, "it is let pass again");
      for (const words of [["-P", "FORWARD", "ACCEPT"], ["-F"], ["-X"]]) iptables(...words);
      lab.route.run(deleteLink("docker0"));
    },
  );

  test.skipIf(!Bun.which("firewalld"))(
    "firewalld lets containers pass, from when it starts, and anew when it or the message bus starts again",
    async () => {
      await using lab = openLab();
      using outside = openOutside(lab.route);
      await using firewalld = await openFirewalld();
      const networks = await lab.open({ messageBus: firewalld.bus });
      await networks.create(createRequest("before"));
      const web = await networks.createSandbox({ ...sandboxRequest("web"), ports: [port(8080)] });
      const other = await networks.createSandbox({
        ...sandboxRequest("other"),
        attachments: [{ network: "before" }],
      });
      using inWeb = inSandbox(web.netnsPath, () => serveAddress("0.0.0.0", 80));
      using beyond = outside.run(() => serveAddress("198.51.100.2", 80));
      expect([inWeb.port, beyond.port]).toEqual([80, 80]);
      const out = (netnsPath: string) => inSandbox(netnsPath, () => ask("198.51.100.2", 80, 500));
      const passes = async () =>
        (await out(web.netnsPath)) === "198.51.100.1" && (await out(other.netnsPath)) === "198.51.100.1";
      await untilSo(passes, "containers get out without it");

      await firewalld.start();
      expect(nft("list", "table", "inet", "firewalld")).toContain("reject with icmpx admin-prohibited");
      await untilSo(passes, "firewalld lets containers out");
      expect(await outside.run(() => ask("198.51.100.1", 8080))).toBe("198.51.100.2");
      // Nobody comes in but by published ports.
      const address = web.endpoints[0]?.ipAddress ?? "";
      expect(await outside.run(() => ask(address, 80, 500))).toBeUndefined();
      await networks.create(createRequest("after"));
      const late = await networks.createSandbox({
        ...sandboxRequest("late"),
        attachments: [{ network: "after" }],
      });
      await untilSo(async () => (await out(late.netnsPath)) === "198.51.100.1", "a network made later");

      await firewalld.stop();
      await firewalld.start();
      await untilSo(passes, "firewalld, started again, lets containers out");
      await firewalld.stop();
      await firewalld.restartBus();
      await firewalld.start();
      await untilSo(passes, "firewalld on another message bus lets containers out");
      for (const id of ["web", "other", "late"]) await networks.releaseSandbox(id);
      await networks.remove("after");
      const left = `br-${networks.inspect("before").id.slice(0, 12)}`;
      await untilSo(
        () =>
          nft("list", "table", "inet", "firewalld")
            .match(/br-\w+/g)
            ?.every((link) => link === left) === true,
        "only the network that is left is known",
      );
      await networks.uninstall();
      expect(nft("list", "table", "inet", "firewalld")).not.toContain(BRIDGE);
    },
  );

  test("a network's MTU holds for its bridge and its containers, and what is that large gets through", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const options = { "com.docker.network.driver.mtu": "9000" };
    await networks.create({ ...createRequest("large"), options });
    const on = (id: string) =>
      networks.createSandbox({ ...sandboxRequest(id), attachments: [{ network: "large" }] });
    const [one, two] = [await on("one"), await on("two")];
    const mtus = inSandbox(one.netnsPath, () => {
      using route = new RouteSocket();
      return route.links().map(({ name, mtu }) => [name, mtu]);
    });
    expect(mtus).toContainEqual(["eth0", 9000]);
    const heard = Promise.withResolvers<number>();
    using receiver = await inSandbox(one.netnsPath, () =>
      Bun.udpSocket({
        ...{ hostname: "0.0.0.0", port: 9 },
        socket: { data: (_, data) => heard.resolve(data.byteLength) },
      }),
    ).then((socket) => ({ [Symbol.dispose]: () => socket.close() }));
    expect(receiver).toBeDefined();
    const fragments = () => {
      const text = fs.readFileSync("/proc/thread-self/net/snmp", "utf8");
      const [names, values] = [...text.matchAll(/^Ip: (.*)$/gm)].map(([, line = ""]) => line.split(" "));
      return values?.[names?.indexOf("FragCreates") ?? -1];
    };
    const before = inSandbox(two.netnsPath, fragments);
    const address = one.endpoints[0]?.ipAddress ?? "";
    const sender = await inSandbox(two.netnsPath, () =>
      Bun.udpSocket({ connect: { hostname: address, port: 9 } }),
    );
    sender.send(Buffer.alloc(8900));
    expect(await heard.promise).toBe(8900);
    sender.close();
    // It went in one piece.
    expect(inSandbox(two.netnsPath, fragments)).toBe(before ?? "none counted");
  });
});
