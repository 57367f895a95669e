import { afterEach, expect, test } from "bun:test";
import { useWorld } from "./world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);
const attempt = (...args: string[]) => world().docker().run(args);
const cat = (container: string, file: string) => docker("exec", container, "cat", file);

afterEach(async () => {
  const ids = await docker("ps", "-aq");
  if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
  await docker("network", "prune", "-f");
});

test("--add-host: addresses, host-gateway for the bridge's own; --domainname; what is no address is refused", async () => {
  const { busybox, engine } = world();
  const [gateway] = engine.bridge.cidr.split("/");
  await docker(
    ...["run", "-d", "--name", "one", "-h", "called", "--domainname", "example.org"],
    ...["--add-host", "host.docker.internal:host-gateway", "--add-host", "six:2001:db8::5"],
    ...["--add-host", "four:192.0.2.7", busybox, "sleep", "1000"],
  );
  const hosts = await cat("one", "/etc/hosts");
  expect(hosts).toContain(`${gateway}\thost.docker.internal`);
  expect(hosts).toContain("2001:db8::5\tsix");
  expect(hosts).toContain("192.0.2.7\tfour");
  expect(hosts).toMatch(/^[\d.]+\tcalled\.example\.org called$/m);
  expect(await cat("one", "/etc/hostname")).toBe("called");
  const refused = await attempt("run", "--rm", "--add-host", "x:nowhere", busybox, "true");
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toContain('invalid IP address in add-host: "nowhere"');
});

test("connect and disconnect keep what was written to the files of a running container", async () => {
  const { busybox } = world();
  await docker("network", "create", "blue");
  await docker("run", "-d", "--name", "one", busybox, "sleep", "1000");
  const before = await cat("one", "/etc/resolv.conf");
  expect(before).not.toContain("127.0.0.11");
  await docker("exec", "one", "sh", "-c", "echo 192.0.2.1 mine >>/etc/hosts");

  await docker("network", "connect", "blue", "one");
  const address = await docker(
    ...["inspect", "-f", "{{.NetworkSettings.Networks.blue.IPAddress}} {{.Config.Hostname}}", "one"],
  );
  const line = address.replace(" ", "\t");
  expect(await cat("one", "/etc/hosts")).toContain(line);
  expect(await cat("one", "/etc/hosts")).toContain("192.0.2.1 mine");
  expect(await cat("one", "/etc/resolv.conf")).toMatch(/^nameserver 127\.0\.0\.11$/m);
  await docker("network", "disconnect", "blue", "one");
  expect(await cat("one", "/etc/hosts")).not.toContain(line);
  expect(await cat("one", "/etc/hosts")).toContain("192.0.2.1 mine");
  expect(await cat("one", "/etc/resolv.conf")).toBe(before);

  await docker("exec", "one", "sh", "-c", "echo nameserver 192.0.2.53 >/etc/resolv.conf");
  await docker("network", "connect", "blue", "one");
  expect(await cat("one", "/etc/resolv.conf")).toBe("nameserver 192.0.2.53");
  // A start makes them anew, as Docker's does.
  await docker("restart", "-t", "0", "one");
  expect(await cat("one", "/etc/hosts")).not.toContain("mine");
  expect(await cat("one", "/etc/resolv.conf")).toMatch(/^nameserver 127\.0\.0\.11$/m);
});

test("on the host's network: the host's files, --dns in the place of its servers", async () => {
  const { busybox } = world();
  const run = (...args: string[]) => docker("run", "--rm", "--network", "host", ...args);
  expect(await run("--dns", "192.0.2.53", busybox, "cat", "/etc/resolv.conf")).toContain(
    "nameserver 192.0.2.53",
  );
  expect(await run("--add-host", "four:192.0.2.7", busybox, "cat", "/etc/hosts")).toContain(
    "192.0.2.7\tfour",
  );
});
