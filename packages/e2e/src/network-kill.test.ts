import { expect, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { useWorld } from "./world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);
const attempt = (...args: string[]) => world().docker().run(args);
const ROUNDS = 8;

test("dockerd killed while a container starts: if it runs, it has its network and its ports", async () => {
  const { busybox, engine } = world();
  const page = async (port: string) =>
    (await fetch(`http://127.0.0.1:${port}/index.html`, { signal: AbortSignal.timeout(5000) })).text();
  const serve = "echo hello > /index.html; exec httpd -f -p 80 -h /";
  for (let round = 0; round < ROUNDS; round++) {
    const box = `start-${round}`;
    await docker("create", "--name", box, "-p", "127.0.0.1::80", busybox, "sh", "-c", serve);
    const starting = attempt("start", box);
    await Bun.sleep(30 + 25 * round);
    await engine.suite.kill("dockerd", "SIGKILL");
    await starting;
    await engine.suite.start("dockerd");
    const [facts] = JSON.parse(await docker("inspect", box));
    if (!facts.State.Running) continue;
    const address: string = facts.NetworkSettings.Networks.bridge.IPAddress;
    expect(address).not.toBe("");
    expect(await docker("exec", box, "ip", "-4", "-o", "address", "show", "eth0")).toContain(`${address}/`);
    const [published] = facts.NetworkSettings.Ports["80/tcp"];
    await eventually(async () => (await page(published.HostPort)) === "hello\n", { timeoutMs: 20_000 });
    await docker("rm", "-f", box);
  }
  const left = await docker("ps", "-aq");
  if (left !== "") await docker("rm", "-f", ...left.split("\n"));
}, 180_000);

test("dockerd killed while containers are connected and disconnected: what it tells is so, and each has a way out", async () => {
  const { busybox, engine } = world();
  const names = ["kill-one", "kill-two"];
  for (const name of names) await docker("network", "create", name);
  const boxes = ["box-1", "box-2", "box-3"];
  for (const box of boxes)
    await docker("run", "-d", "--name", box, "--network", "kill-one", busybox, "sleep", "1000");

  for (let round = 0; round < ROUNDS; round++) {
    const calls = boxes.flatMap((box) =>
      names.map(async (name) => {
        // Whether it works is another matter: the daemon goes in the middle of it.
        await attempt("network", round % 2 === 0 ? "connect" : "disconnect", name, box);
        await attempt("network", round % 2 === 0 ? "disconnect" : "connect", name, box);
      }),
    );
    await Bun.sleep(Math.random() * 250);
    await engine.suite.kill("dockerd", "SIGKILL");
    await Promise.all(calls);
    await engine.suite.start("dockerd");

    for (const box of boxes) {
      const [facts] = JSON.parse(await docker("inspect", box));
      const networks = Object.entries(facts.NetworkSettings.Networks) as [string, { IPAddress: string }][];
      const told = networks.map(([, { IPAddress }]) => IPAddress).sort();
      const listed = await docker("exec", box, "ip", "-4", "-o", "address", "show");
      const found = [...listed.matchAll(/eth\d+ +inet ([\d.]+)\//g)].map(([, address]) => address).sort();
      expect(found).toEqual(told);
      const routes = await docker("exec", box, "ip", "route");
      expect(routes.match(/^default/gm) ?? []).toHaveLength(told.length > 0 ? 1 : 0);
      const hosts = await docker("exec", box, "cat", "/etc/hosts");
      for (const address of told) expect(hosts).toContain(address);
      for (const [name] of networks) {
        const [network] = JSON.parse(await docker("network", "inspect", name));
        expect(network.Containers[facts.Id]?.Name).toBe(box);
      }
    }
  }
  // Whoever is on the same network is found by name.
  for (const box of boxes) {
    await attempt("network", "disconnect", "kill-two", box);
    await attempt("network", "connect", "kill-one", box);
  }
  for (const box of boxes)
    expect(await docker("exec", "box-1", "ping", "-c", "1", "-W", "5", box)).toContain("1 packets received");
  await docker("rm", "-f", ...boxes);
  for (const name of names) await docker("network", "rm", name);
}, 180_000);
