import { afterAll, beforeAll, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import { eventually, freePort, output } from "@longshore/testkit";
import { useWorld } from "./world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);

/** A second machine that has only an address of this one to go by. */
const outside = `lsp${crypto.randomBytes(3).toString("hex")}`;
const NEAR = "198.51.100.5";
const inside = (...command: string[]) => output(["ip", "netns", "exec", outside, ...command]);

beforeAll(async () => {
  await output(["ip", "netns", "add", outside]);
  await output(["ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", outside]);
  await output(["ip", "address", "add", `${NEAR}/30`, "dev", outside]);
  await output(["ip", "link", "set", outside, "up"]);
  await output(["ip", "-n", outside, "address", "add", "198.51.100.6/30", "dev", "eth0"]);
  await output(["ip", "-n", outside, "link", "set", "eth0", "up"]);
});
afterAll(async () => {
  await output(["ip", "link", "delete", outside]);
  await output(["ip", "netns", "delete", outside]);
});

/** Visits a page over and over until it is told to end; prints how often it was answered otherwise, or not, and how often in all. */
const VISITOR = `
const [host, port] = process.argv.slice(1);
let visits = 0, failures = 0, isOver = false;
process.on("SIGTERM", () => { isOver = true; });
const visit = () => new Promise((resolve) => {
  let text = "";
  const end = (is) => { clearTimeout(timer); resolve(is); };
  const timer = setTimeout(() => end(false), 20000);
  Bun.connect({ hostname: host, port: Number(port), socket: {
    open: (socket) => void socket.write("GET /index.html HTTP/1.0\\r\\n\\r\\n"),
    data: (_, data) => { text += data; },
    close: () => end(text.endsWith("hello\\n")),
  } }).catch(() => end(false));
});
console.log("ready");
while (!isOver) { visits++; if (!(await visit())) failures++; }
const tcp = require("fs").readFileSync("/proc/net/netstat", "utf8").matchAll(/^TcpExt: (.*)$/gm);
const [names, values] = [...tcp].map(([, line]) => line.split(" "));
console.log(JSON.stringify({ visits, failures, again: Number(values[names.indexOf("TCPSynRetrans")]) }));
`;

test("connections through a published port go on while dockerd is killed and starts again", async () => {
  const port = await freePort();
  const serve = ["sh", "-c", "echo hello > /index.html; exec httpd -f -p 80 -h /"];
  await docker("run", "-d", "--name", "web", "-p", `${port}:80`, world().busybox, ...serve);
  const page = () => fetch(`http://${NEAR}:${port}/index.html`, { signal: AbortSignal.timeout(5000) });
  await eventually(async () => (await (await page()).text()) === "hello\n");
  const visitor = Bun.spawn(
    ["ip", "netns", "exec", outside, process.execPath, "-e", VISITOR, NEAR, String(port)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const { suite } = world().engine;
  for (let life = 0; life < 3; life++) {
    await suite.kill("dockerd", "SIGKILL");
    await suite.start("dockerd");
  }
  visitor.kill("SIGTERM");
  const lines = (await visitor.stdout.text()).trim().split("\n");
  const { visits, failures, again } = JSON.parse(lines.at(-1) ?? "");
  expect(visits).toBeGreaterThan(20);
  expect({ failures, again }).toEqual({ failures: 0, again: 0 });
  await docker("rm", "-f", "web");
});

const FETCH =
  "const page = await fetch(process.argv[1], { signal: AbortSignal.timeout(10000) }); console.log((await page.text()).trim());";

test("500 ports of a range, one port of each protocol and of EXPOSE ranges", async () => {
  const first = 41_000;
  const id = await docker(
    ...["run", "-d", "-p", `${NEAR}:${first}-${first + 499}:${first}-${first + 499}`],
    ...["-p", `${NEAR}:${first}:53/udp`, "-p", `${NEAR}:${first}:9/sctp`],
    ...["--expose", "7000-7002", "-P", world().busybox, "sh", "-c"],
    `echo hello > /index.html; httpd -p ${first + 321} -h /; exec httpd -f -p 7001 -h /`,
  );
  const ports = JSON.parse(await docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", id)) as Record<
    string,
    { HostIp: string; HostPort: string }[]
  >;
  expect(Object.keys(ports)).toHaveLength(500 + 2 + 3);
  expect(ports["9/sctp"]).toEqual([{ HostIp: NEAR, HostPort: String(first) }]);
  const visit = (port: string | number) =>
    inside(process.execPath, "-e", FETCH, `http://${NEAR}:${port}/index.html`);
  await eventually(async () => (await visit(first + 321)) === "hello", { what: "the range's server" });
  const chosen = ports["7001/tcp"]?.[0]?.HostPort ?? "";
  await eventually(async () => (await visit(chosen)) === "hello", { what: "the exposed port's server" });
  expect(await docker("port", id, `${first + 321}`)).toBe(`${NEAR}:${first + 321}`);
  await docker("rm", "-f", id);
});

test("neither NATS nor the daemons' sockets are in a container's reach", async () => {
  const { suite, bridge } = world().engine;
  const [gateway = ""] = bridge.cidr.split("/");
  const port = new URL(suite.natsUrl).port;
  const attempt = (host: string) =>
    world().docker().run(["run", "--rm", world().busybox, "nc", "-w", "2", host, port]);
  for (const host of [gateway, NEAR, "127.0.0.1"]) {
    const { stdout, status } = await attempt(host);
    expect(status).not.toBe(0);
    expect(stdout).not.toContain("INFO");
  }
  const mounts = await docker("run", "--rm", world().busybox, "cat", "/proc/mounts");
  expect(mounts).not.toContain(suite.paths.run);
  // Abstract sockets belong to a network namespace.
  const sockets = await docker("run", "--rm", world().busybox, "cat", "/proc/net/unix");
  expect(sockets.split("\n")).toHaveLength(1);
  expect(fs.existsSync(suite.paths.dockerSocket)).toBe(true);
});

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
