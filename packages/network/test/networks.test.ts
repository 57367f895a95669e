import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import {
  addAddress,
  addLinkSet,
  addTable,
  createBridge,
  deleteLink,
  deleteTable,
  NftablesSocket,
  setLink,
} from "@longshore/netlink";
import type { CreateNetwork } from "../src/index.ts";
import {
  ask,
  BRIDGE,
  createRequest,
  inSandbox,
  type Lab,
  openLab,
  openOutside,
  sandboxRequest,
  serveAddress,
  until,
} from "./lab.ts";

const TABLE = { family: "inet", name: BRIDGE } as const;
/** What leads to published ports, as nft shows it. */
const PUBLISHED = [
  "fib daddr type local ip6 daddr . meta l4proto . th dport @relayed_at redirect to :PORT",
  "meta nfproto ipv6 fib daddr type local meta l4proto . th dport @relayed redirect to :PORT",
  "fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @ports_at",
  "meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @ports",
  "fib daddr type local dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at",
  "meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . th dport map @ports6",
];
const PRIVATE = "LONGSHORE_TEST_PRIVATE_NETWORK";

if (process.env[PRIVATE] === undefined) runInPrivateNetwork();
else defineTests();

/** These tests again, in a process with network and mount namespaces of its own. */
function runInPrivateNetwork(): void {
  const root = process.getuid?.() === 0;
  test.skipIf(!root)(
    "networks in a network namespace of the test",
    async () => {
      const inner = Bun.spawn(["unshare", "-n", "-m", process.execPath, "test", import.meta.path], {
        env: { ...process.env, [PRIVATE]: "1" },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const output = await new Response(inner.stderr).text();
      if ((await inner.exited) !== 0) throw new Error(output);
    },
    120_000,
  );
}

function defineTests(): void {
  /** Names of the containers' interfaces; those of other tests may still be on their way out. */
  const veths = (lab: Lab): string[] =>
    lab.route.links().flatMap(({ kind, name }) => (kind === "veth" && name !== "uplink" ? [name] : []));
  const newVeths = (lab: Lab, before: readonly string[]): string[] =>
    veths(lab).filter((name) => !before.includes(name));

  test("openNetworks() makes the bridge, and the same one again after a restart", async () => {
    await using lab = openLab();
    const first = (await lab.open()).list();
    expect(first.map(({ name, driver }) => [name, driver])).toEqual([
      ["bridge", "bridge"],
      ["host", "host"],
      ["none", "null"],
    ]);
    const bridge = first[0];
    expect(bridge?.ipam).toEqual([{ subnet: "172.17.0.0/16", gateway: "172.17.0.1" }]);
    expect(bridge?.id).toMatch(/^[0-9a-f]{64}$/);
    expect(lab.route.link(BRIDGE)).toMatchObject({ kind: "bridge", up: true, mtu: 1500 });
    expect(fs.readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8")).toBe("1\n");

    const again = await lab.open();
    expect(again.list()).toEqual(first);
    expect(again.inspect(bridge?.id.slice(0, 12) ?? "")).toEqual(again.inspect("bridge"));
    expect(() => again.inspect("nowhere")).toThrow("network nowhere not found");
  });

  test("createSandbox() gives containers that reach each other, and the outside by the host's address", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const one = await networks.createSandbox(sandboxRequest("one"));
    const two = await networks.createSandbox({ ...sandboxRequest("two"), aliases: ["second"] });
    expect(one.endpoints[0]).toMatchObject({
      ...{ ipAddress: "172.17.0.2", prefixLen: 16, gateway: "172.17.0.1" },
      ...{ macAddress: "02:42:ac:11:00:02", networkId: networks.inspect("bridge").id },
    });
    expect(two.hosts).toEndWith("172.17.0.3\ttwo second\n");
    expect(networks.endpoints("two")).toEqual([...two.endpoints]);
    expect(networks.inspect("bridge").containers["container-one"]?.ipv4Address).toBe("172.17.0.2/16");

    using inOne = inSandbox(one.netnsPath, () => serveAddress("0.0.0.0", 80));
    using inOutside = outside.run(() => serveAddress("198.51.100.2", 80));
    expect([inOne.port, inOutside.port]).toEqual([80, 80]);
    expect(await inSandbox(two.netnsPath, () => ask("172.17.0.2", 80))).toBe("172.17.0.3");
    expect(await ask("172.17.0.2", 80)).toBe("172.17.0.1");
    expect(await inSandbox(two.netnsPath, () => ask("198.51.100.2", 80))).toBe("198.51.100.1");
    // Nothing is published: who comes from outside finds nobody.
    expect(await outside.run(() => ask("172.17.0.2", 80, 300))).toBeUndefined();
  });

  test("createSandbox() without attachments has lo and nothing else", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const { netnsPath, endpoints, hosts } = await networks.createSandbox({
      ...sandboxRequest("lonely"),
      attachments: [],
    });
    expect(endpoints).toEqual([]);
    expect(hosts).not.toContain("lonely");
    const links = inSandbox(netnsPath, () => fs.readFileSync("/proc/thread-self/net/dev", "utf8"));
    expect(links.match(/\w+(?=:)/g)).toEqual(["lo"]);
    using server = inSandbox(netnsPath, () => serveAddress("127.0.0.1", 80));
    expect(server.port).toBe(80);
    expect(await inSandbox(netnsPath, () => ask("127.0.0.1", 80))).toBe("127.0.0.1");
  });

  test("create(): networks of users have their own bridges and don't reach each other", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const blue = await networks.create(
      createRequest("blue", { subnet: "10.9.0.0/24", ipRange: "10.9.0.128/25" }),
    );
    const red = await networks.create(createRequest("red"));
    expect(blue.ipam).toEqual([{ subnet: "10.9.0.0/24", gateway: "10.9.0.128", ipRange: "10.9.0.128/25" }]);
    expect(red.ipam[0]?.subnet).toBe("172.18.0.0/16");
    expect(lab.route.link(`br-${red.id.slice(0, 12)}`)).toMatchObject({ kind: "bridge", up: true });

    const on = (id: string, ...names: string[]) =>
      networks.createSandbox({ ...sandboxRequest(id), attachments: names.map((network) => ({ network })) });
    const one = await on("one", "blue");
    const two = await on("two", "blue");
    const three = await on("three", "red");
    const both = await on("both", "red", "blue");
    expect(one.endpoints[0]?.ipAddress).toBe("10.9.0.129");
    expect(both.endpoints.map(({ interfaceName }) => interfaceName)).toEqual(["eth0", "eth1"]);
    using inOne = inSandbox(one.netnsPath, () => serveAddress("0.0.0.0", 80));
    using inThree = inSandbox(three.netnsPath, () => serveAddress("0.0.0.0", 80));
    using inOutside = outside.run(() => serveAddress("198.51.100.2", 80));
    expect([inOne.port, inThree.port, inOutside.port]).toEqual([80, 80, 80]);
    const address = (sandbox: typeof one) => sandbox.endpoints[0]?.ipAddress ?? "";
    expect(await inSandbox(two.netnsPath, () => ask(address(one), 80))).toBe(address(two));
    expect(await inSandbox(two.netnsPath, () => ask(address(three), 80, 300))).toBeUndefined();
    expect(await inSandbox(three.netnsPath, () => ask("198.51.100.2", 80))).toBe("198.51.100.1");
    expect(await inSandbox(both.netnsPath, () => ask(address(one), 80))).toBe(
      both.endpoints[1]?.ipAddress ?? "",
    );
    expect(await inSandbox(both.netnsPath, () => ask(address(three), 80))).toBe(address(both));

    // A daemon that comes after has them all.
    await networks.close();
    const again = await lab.open();
    await again.reconcile(["one", "two", "three", "both"]);
    expect(again.inspect("blue").containers["container-two"]?.ipv4Address).toBe("10.9.0.130/24");
    expect(await inSandbox(two.netnsPath, () => ask(address(one), 80))).toBe(address(two));
    await expect(again.remove("blue")).rejects.toThrow("has active endpoints");
    for (const id of ["one", "two", "three", "both"]) await again.releaseSandbox(id);
    await again.remove("blue");
    await again.remove(red.id);
    expect(lab.route.links().filter(({ name }) => name.startsWith("br-"))).toEqual([]);
  });

  test("internal networks reach nothing outside, and icc=false keeps neighbours apart", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    await networks.create({ ...createRequest("inner"), internal: true });
    await networks.create({
      ...createRequest("apart"),
      options: { "com.docker.network.bridge.enable_icc": "false" },
    });
    const on = (id: string, network: string) =>
      networks.createSandbox({ ...sandboxRequest(id), attachments: [{ network }] });
    const [a, b, c, d] = [
      await on("a", "inner"),
      await on("b", "inner"),
      await on("c", "apart"),
      await on("d", "apart"),
    ];
    using servers = new DisposableStack();
    for (const { netnsPath } of [a, c]) servers.use(inSandbox(netnsPath, () => serveAddress("0.0.0.0", 80)));
    servers.use(outside.run(() => serveAddress("198.51.100.2", 80)));
    const reach = (from: typeof a, to: string) => inSandbox(from.netnsPath, () => ask(to, 80, 300));
    const addressOf = ({ endpoints }: typeof a) => endpoints[0]?.ipAddress ?? "";
    expect(await reach(b, addressOf(a))).toBe(addressOf(b));
    expect(await reach(b, "198.51.100.2")).toBeUndefined();
    expect(await reach(d, addressOf(c))).toBeUndefined();
    expect(await reach(d, "198.51.100.2")).toBe("198.51.100.1");
    for (const id of ["a", "b", "c", "d"]) await networks.releaseSandbox(id);
  });

  test("connect() and disconnect() while it lives; the default route follows", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    await networks.create(createRequest("blue"));
    using inOutside = outside.run(() => serveAddress("198.51.100.2", 80));
    expect(inOutside.port).toBe(80);
    const live = await networks.createSandbox(sandboxRequest("live"));
    const { networkId } = live.endpoints[0] ?? { networkId: "" };
    const added = await networks.connect(sandboxRequest("live"), {
      network: "blue",
      ipAddress: "172.18.0.77",
    });
    expect(added).toMatchObject({ interfaceName: "eth1", ipAddress: "172.18.0.77" });
    await networks.disconnect("live", networkId);
    expect(networks.endpoints("live").map(({ networkName }) => networkName)).toEqual(["blue"]);
    expect(await inSandbox(live.netnsPath, () => ask("198.51.100.2", 80))).toBe("198.51.100.1");
    await expect(networks.disconnect("live", networkId)).rejects.toThrow("is not on network");
    const other = networks.createSandbox({
      ...sandboxRequest("other"),
      attachments: [{ network: "blue", ipAddress: "172.18.0.77" }],
    });
    await expect(other).rejects.toThrow("Address already in use");
    await networks.releaseSandbox("live");
  });

  test("create() refuses what makes no sense, and makes nothing", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const before = networks.list();
    const refused = async (message: string, request: Partial<CreateNetwork>, ipam = {}) =>
      expect(networks.create({ ...createRequest("x", ipam), ...request })).rejects.toThrow(message);
    await refused("network with name bridge already exists", { name: "bridge" });
    await refused("invalid network name", { name: "a b" });
    await refused("Pool overlaps", {}, { subnet: "172.17.4.0/24" });
    await refused("it should be 10.1.0.0/16", {}, { subnet: "10.1.2.3/16" });
    await refused("invalid gateway address", {}, { subnet: "10.1.0.0/16", gateway: "10.2.0.1" });
    await refused("is not contained in the subnet", {}, { subnet: "10.1.0.0/16", ipRange: "10.2.0.0/24" });
    await refused("network option nope is not supported", { options: { nope: "1" } });
    await refused("invalid value for option", { options: { "com.docker.network.driver.mtu": "big" } });
    expect(networks.list()).toEqual(before);
    await expect(networks.remove("bridge")).rejects.toThrow("is a pre-defined network and cannot be removed");
  });

  test("releaseSandbox() leaves nothing, twice or half-made", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const before = veths(lab);
    await networks.createSandbox(sandboxRequest("short"));
    await expect(networks.createSandbox(sandboxRequest("short"))).rejects.toThrow("already exists");
    expect(newVeths(lab, before).length).toBe(1);
    await networks.releaseSandbox("short");
    await networks.releaseSandbox("short");
    await until(() => newVeths(lab, before).length === 0);
    expect(fs.readdirSync(path.join(lab.stateDir, "netns"))).toEqual([]);
    expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(lab.stateDir);
    expect(networks.inspect("bridge").containers).toEqual({});
    const next = await networks.createSandbox(sandboxRequest("next"));
    expect(next.endpoints[0]?.ipAddress).not.toBe("172.17.0.2");
  });

  test("createSandbox() 50 times at once gives 50 addresses", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const ids = Array.from({ length: 50 }, (_, number) => `many-${number}`);
    const sandboxes = await Promise.all(ids.map((id) => networks.createSandbox(sandboxRequest(id))));
    expect(new Set(sandboxes.map(({ endpoints }) => endpoints[0]?.ipAddress)).size).toBe(50);
    const inside = Bun.spawn(["nsenter", `--net=${sandboxes[7]?.netnsPath}`, "sleep", "60"]);
    await until(() => networks.sandboxOf(inside.pid) === "many-7");
    expect(networks.sandboxOf(process.pid)).toBeUndefined();
    inside.kill();
    await inside.exited;
    expect(networks.sandboxOf(inside.pid)).toBeUndefined();
    await Promise.all(ids.map((id) => networks.releaseSandbox(id)));
  });

  test("reconcile() after a kill in the middle of anything leaves what lives, and nothing else", async () => {
    await using lab = openLab();
    const before = veths(lab);
    const first = await lab.open();
    const { netnsPath } = await first.createSandbox(sandboxRequest("alive"));
    using server = inSandbox(netnsPath, () => serveAddress("0.0.0.0", 80));
    expect(server.port).toBe(80);
    await first.close();

    for (let round = 0; round < 8; round++) {
      const churn = path.join(import.meta.dir, "churn.ts");
      const child = Bun.spawn([process.execPath, churn, lab.database, lab.stateDir, String(round)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await child.stdout.getReader().read();
      await Bun.sleep(Math.random() * 30);
      child.kill("SIGKILL");
      await child.exited;

      const networks = await lab.open();
      await networks.reconcile(["alive"]);
      expect(Object.keys(networks.inspect("bridge").containers)).toEqual(["container-alive"]);
      expect(fs.readdirSync(path.join(lab.stateDir, "netns"))).toEqual(["alive"]);
      await until(() => newVeths(lab, before).length === 1);
      expect(await ask(networks.endpoints("alive")[0]?.ipAddress ?? "", 80)).toBe("172.17.0.1");
      await networks.close();
    }
  }, 60_000);

  test("createSandbox() puts back a bridge and a table that others took away", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    const networks = await lab.open();
    const { netnsPath } = await networks.createSandbox(sandboxRequest("first"));
    using server = outside.run(() => serveAddress("198.51.100.2", 80));
    expect(server.port).toBe(80);
    const reachesOut = () => inSandbox(netnsPath, () => ask("198.51.100.2", 80));

    using nft = new NftablesSocket();
    nft.commit([deleteTable(TABLE)]);
    await networks.createSandbox(sandboxRequest("second"));
    expect(await reachesOut()).toBe("198.51.100.1");

    lab.route.run(deleteLink(BRIDGE));
    await networks.createSandbox(sandboxRequest("third"));
    expect(await reachesOut()).toBe("198.51.100.1");
    lab.route.run(deleteLink(BRIDGE));
    await (await lab.open()).reconcile(["first"]);
    expect(await reachesOut()).toBe("198.51.100.1");
  });

  test("openNetworks() goes out of the way of the host's networks, unless told otherwise", async () => {
    await using lab = openLab();
    using other = temporaryBridge(lab, "docker0", Uint8Array.of(172, 17, 0, 1));
    const subnet = async (options = {}) => (await lab.open(options)).inspect("bridge").ipam[0];
    expect(await subnet()).toEqual({ subnet: "172.18.0.0/16", gateway: "172.18.0.1" });
    expect(other.addresses()).toEqual(["172.17.0.1"]);
    expect(await subnet({ bip: "10.9.8.1/24" })).toEqual({ subnet: "10.9.8.0/24", gateway: "10.9.8.1" });
    await expect(subnet({ bip: "10.9.8.0/24" })).rejects.toThrow("10.9.8.0/24");
    await expect(subnet({ bridge: "no spaces" })).rejects.toThrow("invalid bridge name");
  });

  test.skipIf(!Bun.which("iptables-nft"))("a real Docker's rules let us out, and keep us out", async () => {
    await using lab = openLab();
    using outside = openOutside(lab.route);
    using docker = temporaryBridge(lab, "docker0", Uint8Array.of(172, 17, 0, 1));
    expect(docker.addresses()).toEqual(["172.17.0.1"]);
    const iptables = (...words: string[]): string => {
      const result = Bun.spawnSync(["iptables-nft", ...words]);
      if (!result.success) throw new Error(result.stderr.toString());
      return result.stdout.toString();
    };
    iptables("-N", "DOCKER-USER");
    iptables("-A", "DOCKER-USER", "-j", "RETURN");
    iptables("-A", "FORWARD", "-j", "DOCKER-USER");
    iptables("-P", "FORWARD", "DROP");
    const untouched = iptables("-S");

    const networks = await lab.open();
    await lab.open();
    iptables("-D", "DOCKER-USER", "1");
    const { netnsPath } = await networks.createSandbox(sandboxRequest("beside"));
    using server = outside.run(() => serveAddress("198.51.100.2", 80));
    expect(server.port).toBe(80);
    expect(await inSandbox(netnsPath, () => ask("198.51.100.2", 80))).toBe("198.51.100.1");
    expect(iptables("-S", "DOCKER-USER").split("\n")).toEqual([
      "-N DOCKER-USER",
      `-A DOCKER-USER -o ${BRIDGE} -j ACCEPT`,
      `-A DOCKER-USER -i ${BRIDGE} -j ACCEPT`,
      "-A DOCKER-USER -j RETURN",
      "",
    ]);
    await networks.uninstall();
    expect(iptables("-S")).toBe(untouched);
    iptables("-P", "FORWARD", "ACCEPT");
    iptables("-F");
    iptables("-X");
  });

  test.skipIf(!Bun.which("nft"))("the table is what nft understands it to be", async () => {
    await using lab = openLab();
    await lab.open();
    const { stdout } = Bun.spawnSync(["nft", "--stateless", "list", "table", "inet", BRIDGE]);
    expect(
      stdout
        .toString()
        .split("\n")
        .map((line) => line.trim().replace(/(?<=redirect to :)\d+$/, "PORT"))
        // From 1.1 on nft has a name for it in this chain too.
        .map((line) => line.replace("hook output priority dstnat", "hook output priority -100"))
        .filter(Boolean),
    ).toEqual([
      `table inet ${BRIDGE} {`,
      ...["set bridges {", "type ifname", `elements = { "${BRIDGE}" }`, "}"],
      ...["set foreign_bridges {", "type ifname", "}"],
      ...["set guarded_links {", "type ifname", "}"],
      ...["set guarded_links6 {", "type ifname", "}"],
      ...["set further_bridges {", "type ifname", "}"],
      ...["set internal_bridges {", "type ifname", "}"],
      ...["map ports {", "type inet_proto . inet_service : ipv4_addr . inet_service", "}"],
      ...["map ports_at {", "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service", "}"],
      ...["map ports6 {", "type inet_proto . inet_service : ipv6_addr . inet_service", "}"],
      ...["map ports6_at {", "type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service", "}"],
      ...["set relayed {", "type inet_proto . inet_service", "}"],
      ...["set relayed_at {", "type ipv6_addr . inet_proto . inet_service", "}"],
      ...["chain loopback {", "type filter hook prerouting priority raw; policy accept;"],
      ...['iifname != "lo" ip daddr 127.0.0.0/8 drop', 'iifname != "lo" ip saddr 127.0.0.0/8 drop'],
      ...["iifname @further_bridges notrack", "iifname @bridges fib saddr oifname != @bridges drop", "}"],
      ...["chain prerouting {", "type nat hook prerouting priority dstnat; policy accept;"],
      ...[...PUBLISHED, "}"],
      ...["chain output {", "type nat hook output priority -100; policy accept;"],
      ...[...PUBLISHED, "}"],
      "chain forward {",
      "type filter hook forward priority filter; policy accept;",
      "oifname @bridges ct state established,related accept",
      "oifname @bridges ct status dnat accept",
      `iifname "${BRIDGE}" oifname "${BRIDGE}" accept`,
      "oifname @bridges drop",
      "iifname @bridges oifname @foreign_bridges drop",
      "meta nfproto ipv4 iifname @guarded_links oifname @guarded_links drop",
      "meta nfproto ipv6 iifname @guarded_links6 oifname @guarded_links6 drop",
      "}",
      "chain postrouting {",
      "type nat hook postrouting priority srcnat; policy accept;",
      `ip saddr 172.17.0.0/16 oifname != "${BRIDGE}" masquerade`,
      `ip saddr 172.17.0.0/16 oifname "${BRIDGE}" ct status dnat masquerade`,
      "oifname @bridges ip saddr 127.0.0.0/8 masquerade",
      "oifname @bridges ip6 saddr ::1 masquerade",
      ...["}", "}"],
    ]);
  });

  test("what others have put into nftables is none of ours, whatever it is", async () => {
    await using lab = openLab();
    using nft = new NftablesSocket();
    const foreign = { family: "inet", name: "foreign" } as const;
    // A set as a later nft may describe it: libnftables 1.0.6 dies as it lists it, and it lists all sets to add one.
    const set = addLinkSet(foreign, "s", 1);
    const typeofUnknown = Uint8Array.of(3, 9, 0, 4, 200, 0, 0, 0, 1, 1, 0);
    const body: typeof set.body = (writer) => {
      set.body(writer);
      writer.attributeBytes(13, typeofUnknown);
    };
    nft.commit([addTable(foreign), { ...set, body }]);
    const networks = await lab.open();
    await networks.createSandbox(sandboxRequest("beside-foreign"));
    await networks.uninstall();
    expect(nft.hasSet(foreign, "s")).toBe(true);
    nft.commit([deleteTable(foreign)]);
  });

  test.skipIf(!Bun.which("iptables-nft"))(
    "openNetworks() doesn't mind a Docker that comes and goes",
    async () => {
      await using lab = openLab();
      const loop = [
        ...["iptables -N DOCKER-USER", "iptables -A DOCKER-USER -m addrtype --dst-type LOCAL -j RETURN"],
        ...["iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT", "iptables -P FORWARD DROP"],
        ...["iptables -F", "iptables -X", "iptables -P FORWARD ACCEPT"],
      ].map((line) => line.replace("iptables", "iptables-nft -w"));
      const docker = Bun.spawn(["sh", "-c", `while :; do ${loop.join("; ")}; echo; done`], {
        ...{ stdin: "ignore", stdout: "pipe", stderr: "ignore" },
      });
      try {
        const rounds = docker.stdout.getReader();
        for (let round = 0; round < 5; round++) {
          await rounds.read();
          for (let start = 0; start < 10; start++) await (await lab.open()).close();
        }
      } finally {
        docker.kill();
        await docker.exited;
      }
      for (const words of [["-P", "FORWARD", "ACCEPT"], ["-F"], ["-X"]])
        Bun.spawnSync(["iptables-nft", ...words]);
    },
  );

  test("uninstall() takes the bridge, the table and the sandboxes away", async () => {
    await using lab = openLab();
    const networks = await lab.open();
    const before = veths(lab);
    await networks.createSandbox(sandboxRequest("left"));
    await networks.uninstall();
    expect(lab.route.link(BRIDGE)).toBeUndefined();
    using nft = new NftablesSocket();
    expect(() => nft.commit([deleteTable(TABLE)])).toThrow("ENOENT");
    await until(() => newVeths(lab, before).length === 0);
  });

  /** A bridge that is not ours. */
  function temporaryBridge(lab: Lab, name: string, address: Uint8Array) {
    lab.route.run(createBridge({ name }));
    const index = lab.route.link(name)?.index ?? 0;
    lab.route.run(addAddress({ index, address, prefixLength: 16 }), setLink({ index }, { up: true }));
    return {
      addresses: () =>
        lab.route
          .addresses()
          .flatMap((found) =>
            found.index === index && found.address.length === 4 ? found.address.join(".") : [],
          ),
      [Symbol.dispose]: () => lab.route.run(deleteLink(name)),
    };
  }
}
