import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { useWorld } from "../world.ts";
import { exchangeLoop, parseWatched, procWatcher } from "./attack-programs.ts";
import { hostCanary } from "./host-canary.ts";

const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);

test("hostCanary() reports a changed mode, a changed file, a new file and an ended process", async () => {
  using canary = hostCanary();
  expect(canary.changes()).toEqual([]);
  fs.chmodSync(path.join(canary.dir, "program"), 0o6777);
  fs.writeFileSync(path.join(canary.dir, "secret"), "changed");
  fs.writeFileSync(path.join(canary.dir, "new"), "");
  spawnSync("kill", ["-KILL", String(canary.pid)]);
  await eventually(() => canary.changes().some((line) => line.endsWith("has ended")));
  const changes = canary.changes().join("\n");
  const expected = [/program: mode 100755 .* -> mode 106777/, /secret: /, /new: missing -> /, /has ended/];
  for (const line of expected) expect(changes).toMatch(line);
});

test("exchangeLoop() exchanges two files again and again", async () => {
  const id = await docker("run", "-d", world().attacker, ...exchangeLoop("/tmp/a", "/tmp/b"));
  try {
    expect(await docker("wait", id)).not.toBe("0"); // there are no such files
  } finally {
    await docker("rm", "-f", id);
  }
  const script = 'echo a >/tmp/a; echo b >/tmp/b; exec "$@"';
  const loop = exchangeLoop("/tmp/a", "/tmp/b");
  const running = await docker("run", "-d", world().attacker, "sh", "-c", script, "sh", ...loop);
  try {
    for (const wanted of ["a", "b"])
      await eventually(async () => (await docker("exec", running, "cat", "/tmp/a")) === wanted);
  } finally {
    await docker("rm", "-f", running);
  }
});

test("procWatcher() sees the descriptors of a process that another starts", async () => {
  const id = await docker("run", "-d", world().attacker, ...procWatcher());
  try {
    await eventually(() => docker("exec", id, "test", "-e", "/tmp/watching").then(() => true));
    await docker("exec", id, "sh", "-c", "exec 7</etc/passwd; sleep 0.2");
    await docker("exec", id, "touch", "/tmp/stop");
    await docker("wait", id);
    const seen = parseWatched(await docker("logs", id));
    expect(seen.some(({ links }) => links["fd/7"] === "/etc/passwd")).toBe(true);
  } finally {
    await docker("rm", "-f", id);
  }
});
