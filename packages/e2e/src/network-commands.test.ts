import { afterEach, describe, expect, test } from "bun:test";
import { api } from "./engine-api.ts";
import { clis, useWorld } from "./world.ts";

const world = useWorld();

describe.each(clis)("docker network by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const attempt = (...args: string[]) => world().docker(cli).run(args);
  const network = (...args: string[]) => docker("network", ...args);
  const refused = async (words: string, ...args: string[]) => {
    const { status, stderr } = await attempt("network", ...args);
    expect({ status, stderr }).toMatchObject({ stderr: expect.stringContaining(words) });
    expect(status).not.toBe(0);
  };
  const facts = async (name: string) => JSON.parse(await network("inspect", name))[0];

  afterEach(async () => {
    const ids = await docker("ps", "-aq");
    if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
    for (const name of (await network("ls", "-q", "--filter", "type=custom")).split("\n"))
      if (name !== "") await attempt("network", "rm", name);
    for (const name of (await network("ls", "-q", "--filter", "type=custom")).split("\n"))
      if (name !== "") await network("rm", name);
  });

  test("create: addresses that don't fit together and names that can't be are refused, and nothing is made", async () => {
    const before = await network("ls", "-q", "--no-trunc");
    const create = (words: string, ...args: string[]) => refused(words, "create", ...args, "x");
    await create("invalid subnet 10.61.2.3/16: it should be 10.61.0.0/16", "--subnet", "10.61.2.3/16");
    await create(
      "invalid ip-range 10.61.2.3/24: it should be 10.61.2.0/24",
      ...["--subnet", "10.61.0.0/16", "--ip-range", "10.61.2.3/24"],
    );
    await create(
      "no matching subnet for gateway 10.62.0.1",
      ...["--subnet", "10.61.0.0/16", "--gateway", "10.62.0.1"],
    );
    await create(
      "bridge driver doesn't support multiple subnets",
      ...["--subnet", "10.61.0.0/16", "--subnet", "10.62.0.0/16"],
    );
    await create('plugin "nope" not found', "-d", "nope");
    await create("This node is not a swarm manager", "-d", "overlay");
    await create('only one instance of "host" network is allowed', "-d", "host");
    await create('configuration network "nothing" does not exist', "--config-from", "nothing");
    await create("network option nope is not supported", "-o", "nope=1");
    await refused("operation is not permitted on predefined bridge network", "create", "bridge");
    await refused("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", "create", "a b");
    expect(await network("ls", "-q", "--no-trunc")).toBe(before);
  });

  test("--config-only and --config-from: one network's configuration is another's", async () => {
    await network(
      ...["create", "--config-only", "--subnet", "10.63.0.0/24", "--gateway", "10.63.0.9"],
      ...["-o", "com.docker.network.driver.mtu=1400", "--label", "from=template", "template"],
    );
    expect(await facts("template")).toMatchObject({
      ...{ ConfigOnly: true, Driver: "null", Internal: false, Labels: { from: "template" } },
      IPAM: { Config: [{ Subnet: "10.63.0.0/24", Gateway: "10.63.0.9" }] },
    });
    await refused(
      "a configuration network cannot depend on another configuration network",
      ...["create", "--config-only", "--config-from", "template", "x"],
    );
    await refused(
      "user specified configurations are not supported if the network depends on a configuration network",
      ...["create", "--config-from", "template", "--subnet", "10.64.0.0/24", "x"],
    );
    await network("create", "--config-from", "template", "--internal", "made");
    expect(await facts("made")).toMatchObject({
      ...{ ConfigOnly: false, ConfigFrom: { Network: "template" }, Driver: "bridge", Internal: true },
      IPAM: { Config: [{ Subnet: "10.63.0.0/24", Gateway: "10.63.0.9" }] },
      ...{ Labels: { from: "template" }, Options: { "com.docker.network.driver.mtu": "1400" } },
    });
    const mtu = ["cat", "/sys/class/net/eth0/mtu"];
    expect(await docker("run", "--rm", "--network", "made", world().busybox, ...mtu)).toBe("1400");
    await refused('configuration network "template" is in use', "rm", "template");
    const on = await attempt("run", "--rm", "--network", "template", world().busybox, "true");
    expect(on.stderr).toContain("cannot create endpoint on configuration-only network");
    await network("prune", "-f");
    expect(await network("ls", "--format", "{{.Name}}", "--filter", "type=custom")).toBe("template");
    await network("rm", "template");
  });

  test("macvlan: containers on a network that leads nowhere else have addresses and names there", async () => {
    const { busybox } = world();
    await network("create", "-d", "macvlan", "--subnet", "10.67.0.0/24", "-o", "macvlan_mode=bridge", "mac");
    expect(await facts("mac")).toMatchObject({
      ...{ Driver: "macvlan", Options: { macvlan_mode: "bridge" } },
      IPAM: { Config: [{ Subnet: "10.67.0.0/24", Gateway: "10.67.0.1" }] },
    });
    await docker(
      ...["run", "-d", "--name", "one", "--network", "mac", "--ip", "10.67.0.99", busybox, "sleep", "100"],
    );
    const ping = ["ping", "-c", "1", "-W", "5", "one"];
    expect(await docker("run", "--rm", "--network", "mac", busybox, ...ping)).toContain("10.67.0.99");
    await docker("restart", "-t", "0", "one");
    expect(await docker("run", "--rm", "--network", "mac", busybox, ...ping)).toContain("10.67.0.99");
    await refused(
      "loopback interface is not a valid macvlan parent link",
      ...["create", "-d", "macvlan", "-o", "parent=lo", "x"],
    );
    await refused(
      "requested ipvlan mode 'l5' is not valid",
      ...["create", "-d", "ipvlan", "-o", "ipvlan_mode=l5", "x"],
    );
    await docker("rm", "-f", "one");
    await network("rm", "mac");

    const subnets = ["10.67.0.0/24", "10.68.0.0/24", "fd00:67::/64", "fd00:68::/64"];
    await network(
      ...["create", "-d", "macvlan", "--ipv6", ...subnets.flatMap((subnet) => ["--subnet", subnet])],
      ...["--gateway", "10.68.0.9", "mac"],
    );
    expect(await facts("mac")).toMatchObject({
      ...{ EnableIPv6: true },
      // In no order that the client keeps.
      IPAM: {
        Config: expect.arrayContaining([
          { Subnet: "10.67.0.0/24", Gateway: "10.67.0.1" },
          { Subnet: "10.68.0.0/24", Gateway: "10.68.0.9" },
          { Subnet: "fd00:67::/64", Gateway: "fd00:67::1" },
          { Subnet: "fd00:68::/64", Gateway: "fd00:68::1" },
        ]),
      },
    });
    const addresses = ["--ip", "10.68.0.5", "--ip6", "fd00:68::5"];
    const shown = await docker(
      "run",
      "--rm",
      "--network",
      "mac",
      ...addresses,
      busybox,
      "ip",
      "-o",
      "address",
    );
    expect(shown).toContain("10.68.0.5/24");
    expect(shown).toContain("fd00:68::5/64");
    await network("rm", "mac");
    await refused(
      "bridge driver doesn't support multiple subnets",
      ...["create", "--subnet", "10.67.0.0/24", "--subnet", "10.68.0.0/24", "x"],
    );
  });

  test("--ipv4=false: a network with IPv6 only", async () => {
    // Clients of before have no such flag.
    if (!(await docker("network", "create", "--help")).includes("--ipv4")) return;
    const { busybox } = world();
    await network("create", "--ipv4=false", "--ipv6", "--subnet", "fd00:69::/64", "six");
    expect(await facts("six")).toMatchObject({
      ...{ EnableIPv4: false, EnableIPv6: true },
      IPAM: { Config: [{ Subnet: "fd00:69::/64", Gateway: "fd00:69::1" }] },
    });
    await docker("run", "-d", "--name", "one", "--network", "six", busybox, "sleep", "100");
    const endpoint = JSON.parse(
      await docker("inspect", "-f", "{{json .NetworkSettings.Networks.six}}", "one"),
    );
    expect(endpoint).toMatchObject({ IPAddress: "", Gateway: "", GlobalIPv6Address: "fd00:69::2" });
    const ping = ["ping", "-6", "-c", "1", "-W", "20", "one"];
    expect(await docker("run", "--rm", "--network", "six", busybox, ...ping)).toContain("fd00:69::2");
    const hosts = await docker("exec", "one", "cat", "/etc/hosts");
    expect(hosts).toContain("fd00:69::2");
    await refused("IPv4 or IPv6 must be enabled", "create", "--ipv4=false", "x");
    await docker("rm", "-f", "one");
    await network("rm", "six");
  });

  test("ls: filters and formats; inspect -v; prune by labels and time; what is told of", async () => {
    const since = Math.floor(Date.now() / 1000);
    await network("create", "--label", "keep", "--label", "tier=1", "ls-one");
    await network("create", "--label", "tier=2", "ls-two");
    const names = async (...filters: string[]) =>
      (await network("ls", ...filters.flatMap((one) => ["--filter", one]), "--format", "{{.Name}}")).split(
        "\n",
      );
    expect(await names("name=^ls-")).toEqual(["ls-one", "ls-two"]);
    expect(await names("name=ls-one")).toEqual(["ls-one"]);
    expect(await names("label=tier=2")).toEqual(["ls-two"]);
    expect(await names("label=tier", "label=keep")).toEqual(["ls-one"]);
    expect(await names("driver=null")).toEqual(["none"]);
    expect(await names("type=builtin")).toEqual(["bridge", "host", "none"]);
    expect(await names("dangling=true")).toEqual(["ls-one", "ls-two"]);
    expect(await names("scope=local", "name=none")).toEqual(["none"]);
    await refused("invalid filter", "ls", "--filter", "nope=1");
    await refused("invalid filter: 'type'='odd'", "ls", "--filter", "type=odd");
    const line = JSON.parse(await network("ls", "--filter", "name=ls-one", "--format", "{{json .}}"));
    expect(line).toMatchObject({ Name: "ls-one", Driver: "bridge", Scope: "local", Internal: "false" });
    expect(await network("inspect", "-v", "-f", "{{.Name}} {{.Scope}}", "ls-one")).toBe("ls-one local");

    await docker("run", "-d", "--name", "user", "--network", "ls-two", world().busybox, "sleep", "100");
    // A list told of a network's containers until API 1.28.
    const filters = encodeURIComponent('{"name":["ls-two"]}');
    const counts = ["1.27", "1.28"].map(async (version) => {
      const { body } = await api(world(), "GET", `/v${version}/networks?filters=${filters}`);
      return (JSON.parse(body) as { Containers?: object }[]).map(
        ({ Containers }) => Containers && Object.keys(Containers).length,
      );
    });
    expect(await Promise.all(counts)).toEqual([[1], [undefined]]);
    await network("disconnect", "ls-two", "user");
    expect(await network("prune", "-f", "--filter", "until=1h")).toBe("");
    expect(await network("prune", "-f", "--filter", "label!=keep")).toContain("ls-two");
    expect(await names("type=custom")).toEqual(["ls-one"]);
    const told = await docker(
      ...["events", "--since", `${since}`, "--until", `${Math.ceil(Date.now() / 1000) + 1}`],
      ...["--filter", "type=network", "--format", "{{json .}}"],
    );
    const events = told.split("\n").map((line) => JSON.parse(line));
    expect(
      events.filter(({ Actor }) => Actor.Attributes.name?.startsWith("ls-")).map(({ Action }) => Action),
    ).toEqual(["create", "create", "connect", "disconnect", "destroy"]);
    expect(events.filter(({ Action }) => Action === "prune").length).toBeGreaterThanOrEqual(2);
  });

  test("disconnect -f takes a stopped container off a network that is gone, so that it starts again", async () => {
    await network("create", "going");
    await docker("create", "--name", "left", "--network", "going", world().busybox, "true");
    await network("connect", "bridge", "left");
    await network("rm", "going");
    expect((await attempt("start", "left")).status).toBe(1);
    await refused("not found", "disconnect", "going", "left");
    await network("disconnect", "-f", "going", "left");
    await docker("start", "-a", "left");
  });

  test("endpoints: what can't be is refused before anything is made", async () => {
    const { busybox } = world();
    await network("create", "--subnet", "10.65.0.0/24", "ep");
    const create = async (words: string, ...args: string[]) => {
      const { status, stderr } = await attempt("create", "--name", "never", ...args, busybox, "true");
      expect({ status, stderr }).toMatchObject({ stderr: expect.stringContaining(words) });
      expect(status).not.toBe(0);
      expect(await docker("ps", "-aq", "--filter", "name=never")).toBe("");
    };
    await create(
      "no configured subnet or ip-range contain the IP address 10.66.0.1",
      ...["--network", "ep", "--ip", "10.66.0.1"],
    );
    // Other clients refuse it themselves, in their own words, or don't ask.
    if (cli.ours) {
      await create(
        "user specified IP address is supported on user defined networks only",
        "--ip",
        "10.66.0.1",
      );
      await create("network-scoped alias is supported only for", "--network-alias", "web");
      await create("MAC", "--network", "ep", "--mac-address", "not:a:mac");
    }
    await network("create", "ep2");
    const run = ["run", "-d", "--name", "both", "--network", "name=ep,alias=web,ip=10.65.0.77"];
    const sleep = [busybox, "sleep", "100"];
    const both = await attempt(...run, "--network", "ep2", ...sleep);
    if (both.status !== 0) {
      // A client of an API older than 1.44.
      expect(cli.name).toContain(" 20.10");
      expect(both.stderr).toContain("cannot be created with multiple network endpoints: ep, ep2");
      await docker(...run, ...sleep);
      await network("connect", "ep2", "both");
    }
    const shown = JSON.parse(await docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", "both"));
    const id = (await docker("inspect", "-f", "{{.Id}}", "both")).slice(0, 12);
    expect(Object.keys(shown).sort()).toEqual(["ep", "ep2"]);
    expect(shown.ep).toMatchObject({ IPAddress: "10.65.0.77" });
    // Older clients see its own names here, too.
    expect(shown.ep.Aliases.filter((alias: string) => alias !== id)).toEqual(["web"]);
    await refused("already exists in network ep", "connect", "ep", "both");
    const linked = await docker(
      ...["run", "--rm", "--network", "ep", "--link", "both:friend", busybox, "ping", "-c", "1", "friend"],
    );
    expect(linked).toContain("10.65.0.77");
    await refused("has active endpoints", "rm", "ep");
    await refused("network nowhere not found", "connect", "nowhere", "both");
    await refused("cannot be disconnected from host network or connected to host", "connect", "host", "both");
    await docker("run", "-d", "--name", "onhost", "--network", "host", busybox, "sleep", "100");
    await refused(
      "container sharing network namespace with another container or host",
      "connect",
      "ep",
      "onhost",
    );
    await refused("cannot be disconnected from host network", "disconnect", "host", "onhost");
    await docker("create", "--name", "created", "--network", "host", busybox, "true");
    const [member] = Object.values((await facts("host")).Containers);
    const ofHost = "{{.NetworkSettings.Networks.host.EndpointID}}";
    const [EndpointID, none] = (await docker("inspect", "-f", ofHost, "onhost", "created")).split("\n");
    expect([EndpointID, none ?? ""]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), ""]);
    const nowhere = { MacAddress: "", IPv4Address: "", IPv6Address: "" };
    expect(member).toEqual({ Name: "onhost", EndpointID, ...nowhere });
    expect(Object.keys((await facts("host")).Containers)).toHaveLength(1);
    await docker("run", "-d", "--name", "guest", "--network", "container:both", busybox, "sleep", "100");
    await refused("container sharing network namespace with another container", "connect", "ep2", "guest");
  });
});
