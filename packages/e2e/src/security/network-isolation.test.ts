import { afterEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { eventually, freePort } from "@longshore/testkit";
import { skipped, useWorld } from "../world.ts";

const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);
const attempt = (...args: string[]) => world().docker().run(args);
const isReference = Boolean(process.env.LONGSHORE_E2E_REFERENCE);

afterEach(async () => {
  const ids = await docker("ps", "-aq");
  if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
  await docker("network", "prune", "-f");
});

const run = (name: string, options: string[], ...command: string[]) =>
  docker("run", "-d", "--name", name, ...options, world().attacker, ...command);
const sleeper = (name: string, ...options: string[]) => run(name, options, "sleep", "600");
/** What `name` hears from an address within a second. */
const reach = async (name: string, address: string, port: number) =>
  (await attempt("exec", name, "timeout", "1", "nc", address, String(port))).stdout;
/** What the host hears from an address. */
async function hear(hostname: string, port: number): Promise<string> {
  let heard = "";
  const { promise, resolve } = Promise.withResolvers<string>();
  await Bun.connect({
    ...{ hostname, port },
    socket: {
      data: (_, data) => {
        heard += data.toString();
      },
      close: () => resolve(heard),
    },
  });
  return promise;
}
const gatewayOf = (network: string) =>
  docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network);
/** Says `hello` to whoever connects. */
const greeter = (port: number) => ["nc", "-ll", "-p", String(port), "-e", "echo", "hello"];

test("from an internal network no published port, other network or address of the host is reached", async () => {
  if (isReference) {
    skipped(
      "the real dockerd of these tests runs without iptables: it publishes nothing and isolates nothing",
    );
    return;
  }
  const hostPort = await freePort();
  await run("web", ["-p", `${hostPort}:80`], ...greeter(80));
  await docker("network", "create", "--internal", "inner");
  await sleeper("spy", "--network", "inner", "--cap-add", "NET_ADMIN");
  await run("friend", ["--network", "inner"], ...greeter(80));
  const [own, other] = [await gatewayOf("inner"), await gatewayOf("bridge")];
  const web = await docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web");
  await eventually(async () => (await reach("friend", "127.0.0.1", 80)) === "hello\n");
  await eventually(async () => (await hear("127.0.0.1", hostPort)) === "hello\n");
  using host = Bun.listen({
    ...{ hostname: "0.0.0.0", port: 0 },
    socket: { open: (socket) => void socket.end("host\n"), data() {} },
  });

  expect(await reach("spy", "friend", 80)).toBe("hello\n");
  // As with Docker, the host itself may serve an internal network at the gateway's address.
  expect(await reach("spy", own, host.port)).toBe("host\n");
  expect(await reach("spy", own, hostPort)).toBe("");
  await docker("exec", "spy", "ip", "route", "add", "default", "via", own);
  expect(await reach("spy", own, hostPort)).toBe("");
  expect(await reach("spy", other, hostPort)).toBe("");
  expect(await reach("spy", web, 80)).toBe("");
  expect(await reach("spy", other, host.port)).toBe("");
  expect((await attempt("exec", "spy", "nslookup", "example.test")).status).not.toBe(0);
});

test("a container speaks to the host neither in the name of loopback nor to it", async () => {
  await sleeper("spy", "--cap-add", "NET_ADMIN", "--sysctl", "net.ipv4.conf.all.route_localnet=1");
  const gateway = await gatewayOf("bridge");
  const heard: string[] = [];
  const socket = {
    data: (_: unknown, data: Buffer, _port: number, address: string) => void heard.push(`${data} ${address}`),
  };
  const all = await Bun.udpSocket({ hostname: "0.0.0.0", port: 0, socket });
  const local = await Bun.udpSocket({ hostname: "127.0.0.1", port: 0, socket });
  try {
    const send = (what: string, source: string, address: string, port: number) => {
      const at = (ip: string, number: number) =>
        `pack("S n a4 x8", 2, ${number}, pack("C4", ${ip.split(".").join(", ")}))`;
      const program = `socket(my $s, 2, 2, 0) or die; bind($s, ${at(source, 0)}) or die "bind $!";
        send($s, "${what}", 0, ${at(address, port)}) or die "send $!"`;
      return docker("exec", "spy", "perl", "-e", program);
    };
    const script = `ip link set lo down; ip address add 127.0.0.2/32 dev eth0; ip route add 127.0.0.1 via ${gateway}`;
    await docker("exec", "spy", "sh", "-c", script);
    await send("forged", "127.0.0.2", gateway, all.port);
    await send("local", "0.0.0.0", "127.0.0.1", local.port);
    await send("honest", "0.0.0.0", gateway, all.port);
    await eventually(() => heard.some((line) => line.startsWith("honest")));
    const taken = heard.map((line) => line.split(" ")[0]);
    // Docker takes what comes in the name of 127.0.0.2.
    expect(isReference ? taken.filter((what) => what !== "forged") : taken).toEqual(["honest"]);
  } finally {
    all.close();
    local.close();
  }
});

test("while a container floods its resolver, the engine and other containers' names answer", async () => {
  await docker("network", "create", "front");
  await sleeper("web", "--network", "front");
  const flood = `socket(my $s, 2, 2, 0); connect($s, pack("S n a4 x8", 2, 53, pack("C4", 127, 0, 0, 11)));
    my $q = pack("n6", 1, 0x100, 1, 0, 0, 0) . "\\3web\\0\\0\\1\\0\\1"; fork; while (1) { send($s, $q, 0) }`;
  await run("flood", ["--network", "front"], "perl", "-e", flood);
  const took: number[] = [];
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    expect(await docker("ps", "-q", "--filter", "name=web")).not.toBe("");
    const { status, stdout } = await attempt("exec", "web", "nslookup", "flood");
    took.push(performance.now() - start);
    expect([status, stdout]).toEqual([0, expect.stringContaining("Name:")]);
  }
  // A process that does nothing but read queries answers when the flood ends.
  expect(Math.max(...took)).toBeLessThan(5000);
}, 60_000);

test("nobody else takes the engine's rules away while it runs", async () => {
  if (isReference) {
    skipped("Docker's rules are in tables that are everybody's");
    return;
  }
  const table = await docker(
    "network",
    "inspect",
    "-f",
    '{{index .Options "com.docker.network.bridge.name"}}',
    "bridge",
  );
  const listed = () => spawnSync("nft", ["list", "table", "inet", table], { encoding: "utf8" });
  expect(listed().stdout).toContain("chain forward");
  if (!listed().stdout.includes("flags owner")) {
    skipped("this kernel knows no tables of one owner");
    return;
  }
  const deleted = spawnSync("nft", ["delete", "table", "inet", table], { encoding: "utf8" });
  expect(deleted.stderr).toContain("Operation not permitted");
  expect(listed().stdout).toContain("chain forward");
});
