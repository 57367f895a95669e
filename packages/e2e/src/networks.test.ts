import { afterEach, describe, expect, test } from "bun:test";
import { eventually, freePort } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld();

describe.each(clis)("networks by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const attempt = (...args: string[]) => world().docker(cli).run(args);
  const addressOf = (container: string, network: string) =>
    docker("inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, container);
  const pings = async (container: string, address: string) =>
    (await attempt("exec", container, "ping", "-c", "1", "-W", "1", address)).status === 0;

  afterEach(async () => {
    const ids = await docker("ps", "-aq");
    if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
    await docker("network", "prune", "-f");
  });

  test("create, ls, inspect, rm: a network of one's own, and what is refused", async () => {
    const id = await docker(
      ...[
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "--ip-range",
        "10.77.0.64/26",
        "--label",
        "a=b",
        "blue",
      ],
    );
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(await docker("network", "ls", "--format", "{{.Name}} {{.Driver}}")).toBe(
      "blue bridge\nbridge bridge\nhost host\nnone null",
    );
    const [facts] = JSON.parse(await docker("network", "inspect", "blue")) as Record<string, unknown>[];
    expect(facts).toMatchObject({
      ...{ Name: "blue", Id: id, Driver: "bridge", Internal: false, Labels: { a: "b" } },
      IPAM: { Config: [{ Subnet: "10.77.0.0/24", IPRange: "10.77.0.64/26", Gateway: "10.77.0.64" }] },
    });
    expect((await attempt("network", "create", "blue")).stderr).toContain(
      "network with name blue already exists",
    );
    expect((await attempt("network", "create", "--subnet", "10.77.0.128/25", "red")).stderr).toContain(
      "Pool overlaps with other one on this address space",
    );
    expect((await attempt("network", "rm", "bridge")).stderr).toContain("is a pre-defined network");
    await docker("run", "-d", "--name", "on-blue", "--network", "blue", world().busybox, "sleep", "100");
    expect((await attempt("network", "rm", "blue")).stderr).toContain("has active endpoints");
    expect(await docker("ps", "-q", "--filter", "network=blue")).not.toBe("");
    await docker("rm", "-f", "on-blue");
    expect(await docker("network", "rm", "blue")).toBe("blue");
    expect((await attempt("network", "inspect", "blue")).stderr).toMatch(
      /network blue not found|No such network: blue/,
    );
  });

  test("containers of one network reach each other, those of two don't; --ip, --mac-address, the mode container:", async () => {
    const { busybox } = world();
    await docker("network", "create", "--subnet", "10.78.0.0/24", "one");
    await docker("network", "create", "two");
    const run = (name: string, ...args: string[]) =>
      docker("run", "-d", "--name", name, ...args, busybox, "sleep", "100");
    await run("web1", "--network", "one", "--ip", "10.78.0.99", "--mac-address", "02:42:00:00:00:09");
    await run("web2", "--network", "one");
    await run("web3", "--network", "two");
    expect(await addressOf("web1", "one")).toBe("10.78.0.99");
    expect(await docker("exec", "web1", "cat", "/sys/class/net/eth0/address")).toBe("02:42:00:00:00:09");
    expect(await pings("web2", "10.78.0.99")).toBe(true);
    expect(await pings("web3", "10.78.0.99")).toBe(false);
    const taken = await attempt("run", "--rm", "--network", "one", "--ip", "10.78.0.99", busybox, "true");
    expect({ status: taken.status, stderr: taken.stderr }).toMatchObject({
      status: 125,
      stderr: expect.stringContaining("Address already in use"),
    });
    const joined = await docker("run", "--rm", "--network", "container:web1", busybox, "ip", "-4", "addr");
    expect(joined).toContain("10.78.0.99");
    const hosts = await docker("run", "--rm", "--network", "container:web1", busybox, "cat", "/etc/hosts");
    expect(hosts).toContain("10.78.0.99");
    const refused = await attempt("run", "--rm", "--network", "container:web1", "-h", "x", busybox, "true");
    expect(refused.stderr).toContain("conflicting options: hostname and the network mode");
    expect((await attempt("run", "--rm", "--network", "nowhere", busybox, "true")).stderr).toContain(
      "network nowhere not found",
    );
  });

  test("connect and disconnect, running and not; what is asked for holds at the next start, and after a kill of dockerd", async () => {
    const { busybox, engine } = world();
    await docker("network", "create", "left");
    await docker("network", "create", "right");
    await docker("run", "-d", "--name", "mover", "--network", "left", busybox, "sleep", "100");
    await docker("run", "-d", "--name", "target", "--network", "right", busybox, "sleep", "100");
    const target = await addressOf("target", "right");
    expect(await pings("mover", target)).toBe(false);
    await docker("network", "connect", "right", "mover");
    expect(await pings("mover", target)).toBe(true);
    expect((await attempt("network", "connect", "right", "mover")).stderr).toContain(
      "already exists in network right",
    );
    await docker("network", "disconnect", "left", "mover");
    const names = () =>
      docker("inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", "mover");
    expect((await names()).trim()).toBe("right");

    await engine.suite.kill("dockerd", "SIGKILL");
    await engine.suite.start("dockerd");
    expect(await pings("mover", target)).toBe(true);
    await docker("stop", "-t", "0", "mover");
    await docker("network", "connect", "left", "mover");
    await docker("start", "mover");
    expect((await names()).trim().split(" ").sort()).toEqual(["left", "right"]);
    expect(await pings("mover", target)).toBe(true);
    expect((await attempt("network", "disconnect", "bridge", "mover")).stderr).toContain(
      "is not connected to network bridge",
    );
  });

  test("the mode none is on no other network until it is left; the name of an interface, and addresses of its link", async () => {
    const { busybox } = world();
    for (const name of ["apart", "beside"]) await docker("network", "create", name);
    await docker("run", "-d", "--name", "alone", "--network", "none", busybox, "sleep", "1000");
    const refused = await attempt("network", "connect", "apart", "alone");
    expect(refused.stderr).toContain(
      "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    );
    const links = (name: string) => docker("exec", name, "ip", "-o", "address");
    expect(await links("alone")).not.toContain("eth0");
    await docker("network", "disconnect", "none", "alone");
    const networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    expect(await docker("inspect", "-f", networks, "alone")).toBe("");
    await docker("network", "connect", "apart", "alone");
    expect(await links("alone")).toContain(" eth0 ");
    expect(await docker("inspect", "-f", networks, "alone")).toContain("apart");

    const option = "com.docker.network.endpoint.ifname=lan7";
    const connect = ["network", "connect", "--driver-opt", option, "--link-local-ip", "169.254.7.7"];
    await docker(...connect, "beside", "alone");
    expect(await links("alone")).toContain(" lan7    inet 169.254.7.7/16 ");
    await docker("restart", "-t", "0", "alone");
    expect(await links("alone")).toContain(" lan7    inet 169.254.7.7/16 ");
    expect(
      JSON.parse(await docker("inspect", "-f", "{{json .NetworkSettings.Networks.beside}}", "alone")),
    ).toMatchObject({
      IPAMConfig: { LinkLocalIPs: ["169.254.7.7"] },
      DriverOpts: { "com.docker.network.endpoint.ifname": "lan7" },
    });
    const again = await attempt(
      ...connect.with(3, "com.docker.network.endpoint.ifname=a/b"),
      "bridge",
      "alone",
    );
    expect(again.stderr).toContain('invalid interface name: "a/b"');
  });

  test("-p and -P: reached from the host, listed, refused when taken, the same after a kill of dockerd", async () => {
    const { busybox, engine } = world();
    const serve = ["sh", "-c", "echo hello > /index.html; exec httpd -f -p 80 -h /"];
    const port = await freePort();
    const page = async (at: string) =>
      (await fetch(`http://${at}/index.html`, { signal: AbortSignal.timeout(3000) })).text();
    await docker(
      "run",
      "-d",
      "--name",
      "web",
      "-p",
      `${port}:80`,
      "-p",
      "127.0.0.1::80",
      "--expose",
      "90/udp",
      busybox,
      ...serve,
    );
    await eventually(async () => (await page(`127.0.0.1:${port}`)) === "hello\n");
    const [bridgeAddress = ""] = engine.bridge.cidr.split("/");
    expect(await page(`${bridgeAddress}:${port}`)).toBe("hello\n");
    const ports = JSON.parse(await docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"));
    const [, , loopback] = ports["80/tcp"] as { HostIp: string; HostPort: string }[];
    const any = ["0.0.0.0", "::"].map((HostIp) => ({ HostIp, HostPort: String(port) }));
    expect(ports).toEqual({
      "80/tcp": [...any, loopback],
      "90/udp": null,
    });
    expect(loopback).toEqual({ HostIp: "127.0.0.1", HostPort: expect.stringMatching(/^\d+$/) });
    expect(await page(`127.0.0.1:${loopback?.HostPort}`)).toBe("hello\n");
    expect(await page(`[::1]:${port}`)).toBe("hello\n");
    const listed = await docker("ps", "--filter", "name=web", "--format", "{{.Ports}}");
    expect(listed).toContain(`0.0.0.0:${port}->80/tcp`);
    expect(listed).toContain(`127.0.0.1:${loopback?.HostPort}->80/tcp`);
    expect(listed).toContain("90/udp");

    const taken = await attempt("run", "--rm", "-p", `${port}:80`, busybox, "true");
    expect(taken.status).toBe(125);
    expect(taken.stderr).toMatch(
      new RegExp(
        `driver failed programming external connectivity on endpoint [a-z_]+ \\([0-9a-f]{64}\\): Bind for 0.0.0.0:${port} failed: port is already allocated`,
      ),
    );
    await docker("run", "-d", "--name", "all", "-P", "--expose", "80", busybox, ...serve);
    const [chosen] = JSON.parse(
      await docker("inspect", "-f", '{{json (index .NetworkSettings.Ports "80/tcp")}}', "all"),
    );
    await eventually(async () => (await page(`127.0.0.1:${chosen.HostPort}`)) === "hello\n");

    await engine.suite.kill("dockerd", "SIGKILL");
    expect(await page(`127.0.0.1:${port}`)).toBe("hello\n");
    await engine.suite.start("dockerd");
    expect(await page(`127.0.0.1:${port}`)).toBe("hello\n");
    await docker("restart", "-t", "0", "web");
    await eventually(async () => (await page(`127.0.0.1:${port}`)) === "hello\n");
    await docker("rm", "-f", "web");
    await expect(page(`127.0.0.1:${port}`)).rejects.toThrow();
    const host = await attempt("run", "--rm", "--network", "host", "-p", "80:80", busybox, "echo", "ran");
    expect(host.stdout).toBe("ran\n");
    expect(host.stderr).toContain("Published ports are discarded when using host network mode");
  });

  test("names: containers, aliases and short ids are found on networks of one's own, from there only, whatever restarts", async () => {
    const { busybox, engine } = world();
    await docker("network", "create", "names");
    await docker("network", "create", "others");
    const run = (...args: string[]) => docker("run", "-d", ...args, busybox, "sleep", "1000");
    const id = await run("--name", "server", "--network", "names", "--network-alias", "web", "-h", "called");
    await run("--name", "second", "--network", "names", "--network-alias", "web");
    await run("--name", "client", "--network", "names");
    await run("--name", "stranger", "--network", "others");
    const address = await addressOf("server", "names");
    const second = await addressOf("second", "names");
    const find = async (from: string, name: string) => {
      const { stdout } = await attempt("exec", from, "nslookup", "-type=a", name, "127.0.0.11");
      return [...stdout.matchAll(/^Address(?: \d+)?: *([\d.]+)$/gm)].map(([, one]) => one).sort();
    };
    expect(await docker("exec", "client", "cat", "/etc/resolv.conf")).toMatch(/^nameserver 127\.0\.0\.11\n/);
    for (const name of ["server", "SERVER", "called", id.slice(0, 12), "server.names"])
      expect(await find("client", name)).toEqual([address]);
    expect(await find("client", "web")).toEqual([address, second].sort());
    expect(await find("client", "stranger")).toEqual([]);
    expect(await find("stranger", "server")).toEqual([]);
    expect(await pings("client", "server")).toBe(true);
    const reverse = await docker("exec", "client", "nslookup", address, "127.0.0.11");
    expect(reverse).toContain("server.names");

    await docker("rename", "server", "renamed");
    expect(await find("client", "renamed")).toEqual([address]);
    expect(await find("client", "server")).toEqual([]);
    await docker("network", "connect", "--alias", "guest", "names", "stranger");
    expect(await find("client", "guest")).toEqual([await addressOf("stranger", "names")]);
    expect(await find("stranger", "renamed")).toEqual([address]);

    await engine.suite.kill("dockerd", "SIGKILL");
    await engine.suite.start("dockerd");
    expect(await find("client", "renamed")).toEqual([address]);
    await docker("rm", "-f", "second");
    expect(await find("client", "web")).toEqual([address]);
  });

  test("--ipv6: addresses, names and published ports of IPv6; --ip6", async () => {
    const { busybox } = world();
    const six = [
      "network",
      "create",
      "--ipv6",
      "--subnet",
      "fd00:77::/64",
      "--subnet",
      "10.79.0.0/24",
      "six",
    ];
    await docker(...six);
    const [facts] = JSON.parse(await docker("network", "inspect", "six")) as Record<string, unknown>[];
    expect(facts).toMatchObject({
      EnableIPv6: true,
      IPAM: {
        Config: [
          { Subnet: "10.79.0.0/24", Gateway: "10.79.0.1" },
          { Subnet: "fd00:77::/64", Gateway: "fd00:77::1" },
        ],
      },
    });
    const [port, another] = [await freePort(), await freePort()];
    const serve = ["sh", "-c", "echo hello > /index.html; exec httpd -f -p 80 -h /"];
    await docker(
      ...["run", "-d", "--name", "web6", "--network", "six", "--ip6", "fd00:77::99"],
      ...["-p", `${port}:80`, "-p", `[fd00:77::1]:${another}:80`, busybox, ...serve],
    );
    const shown = '{{(index .NetworkSettings.Networks "six").GlobalIPv6Address}}';
    expect(await docker("inspect", "-f", shown, "web6")).toBe("fd00:77::99");
    // Older clients show no brackets.
    expect((await docker("port", "web6", "80")).replace(/[[\]]/g, "").split("\n").sort()).toEqual(
      [`0.0.0.0:${port}`, `:::${port}`, `fd00:77::1:${another}`].sort(),
    );
    const page = async (at: string) =>
      (await fetch(`http://${at}/index.html`, { signal: AbortSignal.timeout(3000) })).text();
    await eventually(async () => (await page(`[fd00:77::1]:${port}`)) === "hello\n");
    expect(await page(`[fd00:77::1]:${another}`)).toBe("hello\n");
    const visit = (url: string) =>
      docker("run", "--rm", "--network", "six", busybox, "wget", "-qO-", `http://${url}/index.html`);
    expect(await visit("[fd00:77::99]")).toBe("hello");
    expect(await visit(`[fd00:77::1]:${port}`)).toBe("hello");
    const names = await docker(
      ...["run", "--rm", "--network", "six", busybox, "nslookup", "-type=aaaa", "web6", "127.0.0.11"],
    );
    expect(names).toContain("fd00:77::99");
    const lacking = await attempt("network", "create", "--subnet", "fd00:78::/64", "seven");
    expect(lacking.stderr).toContain("subnet fd00:78::/64 needs EnableIPv6");
    await docker("network", "create", "--ipv6", "local");
    const subnets = await docker(
      "network",
      "inspect",
      "-f",
      "{{range .IPAM.Config}}{{.Subnet}} {{end}}",
      "local",
    );
    expect(subnets).toMatch(/ fd[0-9a-f:]+::\/64/);
  });

  test("--internal has no way out; --dns, --dns-search and --dns-opt are in resolv.conf", async () => {
    const { busybox } = world();
    await docker("network", "create", "--internal", "inner");
    const routes = await docker("run", "--rm", "--network", "inner", busybox, "ip", "route");
    expect(routes).not.toContain("default");
    const conf = await docker(
      ...["run", "--rm", "--dns", "192.0.2.53", "--dns-search", "example.org", "--dns-opt", "ndots:2"],
      ...[busybox, "cat", "/etc/resolv.conf"],
    );
    expect(conf).toContain("nameserver 192.0.2.53\nsearch example.org\noptions ndots:2");
  });
});
