import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import { output } from "@longshore/testkit";
import { useWorld } from "./world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);
const inContainer = (...command: string[]) => docker("run", "--rm", world().busybox, ...command);

/** A second machine: a network namespace that is reached from this one over a veth pair, with an HTTP server in it. */
const outside = `lso${crypto.randomBytes(3).toString("hex")}`;
const OUTSIDE = "198.51.100.2";
const NEAR = "198.51.100.1";
let server: Bun.Subprocess | undefined;

beforeAll(async () => {
  await output(["ip", "netns", "add", outside]);
  await output(["ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", outside]);
  await output(["ip", "address", "add", `${NEAR}/30`, "dev", outside]);
  await output(["ip", "link", "set", outside, "up"]);
  const inside = (...command: string[]) => output(["ip", "-n", outside, ...command]);
  await inside("address", "add", `${OUTSIDE}/30`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("link", "set", "lo", "up");
  // It has no route to the containers' addresses: an answer can only come back through NAT. Each answer is the caller's address.
  const echo =
    'Bun.listen({ hostname: "0.0.0.0", port: 80, socket: { data() {}, open(s) { s.end(s.remoteAddress + "\\n"); } } });';
  server = Bun.spawn(
    ["ip", "netns", "exec", outside, process.execPath, "-e", `${echo} console.log("ready")`],
    {
      stdout: "pipe",
      stderr: "inherit",
    },
  );
  const { value } = await (server.stdout as ReadableStream<Uint8Array>).getReader().read();
  expect(new TextDecoder().decode(value)).toBe("ready\n");
});

afterAll(async () => {
  server?.kill();
  await server?.exited;
  await output(["ip", "link", "delete", outside]);
  await output(["ip", "netns", "delete", outside]);
});

describe("bridge", () => {
  test("it has an address of the bridge's subnet, and the bridge as its gateway", async () => {
    const { cidr } = world().engine.bridge;
    const gateway = cidr.replace("/24", "");
    const subnet = gateway.slice(0, gateway.lastIndexOf(".") + 1);
    expect(await inContainer("ip", "-4", "-o", "addr", "show", "eth0")).toContain(`inet ${subnet}`);
    expect(await inContainer("ip", "route")).toContain(`default via ${gateway} dev eth0`);
    expect(await inContainer("ip", "-4", "-o", "addr", "show", "lo")).toContain("127.0.0.1/8");
  });

  test("a host beyond this one answers, and sees this host's address", async () => {
    expect(await inContainer("nc", "-w", "5", OUTSIDE, "80")).toBe(NEAR);
  });

  test("two containers reach each other", async () => {
    const id = await docker(
      "run",
      "-d",
      world().busybox,
      "sh",
      "-c",
      "while :; do echo hello | nc -l -p 4000; done",
    );
    const address =
      /inet ([\d.]+)/.exec(await docker("exec", id, "ip", "-4", "-o", "addr", "show", "eth0"))?.[1] ?? "";
    const script = `for i in 1 2 3 4 5 6 7 8 9; do nc ${address} 4000 && break; sleep 0.1; done`;
    expect(await inContainer("sh", "-c", script)).toBe("hello");
    await docker("rm", "-f", id);
  });

  test("hosts and resolv.conf are written for it", async () => {
    const id = await docker("run", "-d", world().busybox, "sleep", "1000");
    const hosts = await docker("exec", id, "cat", "/etc/hosts");
    expect(hosts).toMatch(/^127\.0\.0\.1\s+localhost$/m);
    expect(hosts).toMatch(
      new RegExp(`^${world().engine.bridge.cidr.replace(/\d+\/24$/, "\\d+")}\\s+${id.slice(0, 12)}$`, "m"),
    );
    const host = fs.existsSync("/etc/resolv.conf") ? fs.readFileSync("/etc/resolv.conf", "utf8") : "";
    const named = /^nameserver\s+(?!127\.)(\S+)/m.exec(host)?.[1];
    if (named) expect(await docker("exec", id, "cat", "/etc/resolv.conf")).toContain(named);
    await docker("rm", "-f", id);
  });
});

describe("other modes", () => {
  test("--net=none has lo and nothing else", async () => {
    expect(await docker("run", "--rm", "--net=none", world().busybox, "ls", "/sys/class/net")).toBe("lo");
  });

  test("--net=host is the host's network, with the host's name", async () => {
    const links = await docker("run", "--rm", "--net=host", world().busybox, "ls", "/sys/class/net");
    expect(links.split("\n")).toContain(outside);
    const namespace = await docker(
      "run",
      "--rm",
      "--net=host",
      world().busybox,
      "readlink",
      "/proc/self/ns/net",
    );
    expect(namespace).toBe(fs.readlinkSync("/proc/self/ns/net"));
    expect(await docker("run", "--rm", "--net=host", world().busybox, "hostname")).toBe(
      await output(["hostname"]),
    );
  });
});

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
