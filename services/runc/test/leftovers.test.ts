/** kill -9 of runc at every moment of what it does: `delete --force` leaves nothing, and no process is without an owner. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { it, type Patch, Playground, runc } from "./playground.ts";

const playground = new Playground();
afterEach(() => playground.clear());
afterAll(() => playground[Symbol.dispose]());

/** From before its first step to after the last, in milliseconds. */
const DELAYS = Array.from({ length: 51 }, (_, index) => index / 2);

/** Start runc, kill it after a delay, and wait until it is gone. Whether it was still running. */
async function kill9After(delayMs: number, args: string[]): Promise<boolean> {
  const child = Bun.spawn([runc, "--root", playground.root, ...args], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  // A timer is not exact enough.
  const until = performance.now() + delayMs;
  while (performance.now() < until);
  child.kill("SIGKILL");
  await child.exited;
  return child.signalCode === "SIGKILL";
}

const EVERYTHING: Patch = {
  process: { args: ["sleep", "1000"] },
  root: { readonly: true },
  linux: {
    resources: { pids: { limit: 100 }, memory: { limit: 64 << 20 } },
    seccomp: {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO" }],
    },
  },
};

function prepare(id: string, config: Patch = EVERYTHING): void {
  playground.write(playground.config(config, { linux: { cgroupsPath: playground.groupOf(id) } }));
}

function removeByForce(id: string): void {
  const { code, stderr } = playground.command(["delete", "--force", id]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
}

it("create", async () => {
  let killed = 0;
  for (const delayMs of DELAYS) {
    const id = playground.id("create");
    prepare(id);
    if (await kill9After(delayMs, ["create", "--bundle", playground.bundle, id])) killed++;
    removeByForce(id);
    expect({ delayMs, left: playground.leftovers() }).toEqual({ delayMs, left: [] });
    // The id is free again.
    expect(playground.command(["state", id]).stderr).toContain("container does not exist");
  }
  // Else the delays are none.
  expect(killed).toBeGreaterThan(5);
});

it("create with hooks and a terminal's socket that nobody answers", async () => {
  const hook = (script: string) => [{ path: "/bin/sh", args: ["sh", "-c", script] }];
  const hooks = { prestart: hook("sleep 0.005"), createContainer: hook("sleep 0.005") };
  for (const delayMs of DELAYS.filter((_, index) => index % 3 === 0)) {
    const id = playground.id("hooks");
    prepare(id, { ...EVERYTHING, hooks });
    await kill9After(delayMs, ["create", "--bundle", playground.bundle, id]);
    removeByForce(id);
    // A hook that was running ends by itself.
    await eventually(() => playground.leftovers().length === 0, {
      what: `nothing left after ${delayMs} ms: ${playground.leftovers()}`,
    });
  }
});

it("start", async () => {
  for (const delayMs of DELAYS.filter((_, index) => index % 3 === 0)) {
    using container = playground.create(EVERYTHING);
    await kill9After(delayMs, ["start", container.id]);
    expect(["created", "running"]).toContain(container.state().status);
    removeByForce(container.id);
    expect({ delayMs, left: playground.leftovers() }).toEqual({ delayMs, left: [] });
  }
});

it("exec: no process is left behind in the container", async () => {
  using container = playground.start(EVERYTHING);
  const members = () => {
    const group = [...container.groups().values()].find((dir) =>
      fs.existsSync(path.join(dir, "cgroup.procs")),
    );
    return fs.readFileSync(`${group}/cgroup.procs`, "utf8").trim().split("\n");
  };
  for (const delayMs of DELAYS.filter((_, index) => index % 2 === 0)) {
    await kill9After(delayMs, ["exec", container.id, "true"]);
    await eventually(() => members().length === 1, { what: `only init after ${delayMs} ms` });
  }
  expect(container.script("echo still here").stdout).toBe("still here\n");
});

it("delete, and delete --force of a running container: the next one ends it", async () => {
  for (const delayMs of DELAYS.filter((_, index) => index % 3 === 0)) {
    using container = playground.start(EVERYTHING);
    await kill9After(delayMs, ["delete", "--force", container.id]);
    removeByForce(container.id);
    expect({ delayMs, left: playground.leftovers() }).toEqual({ delayMs, left: [] });
  }
});

it("pause: a container that was being frozen can be resumed and removed", async () => {
  for (const delayMs of DELAYS.filter((_, index) => index % 5 === 0)) {
    using container = playground.start(EVERYTHING);
    await kill9After(delayMs, ["pause", container.id]);
    removeByForce(container.id);
    expect({ delayMs, left: playground.leftovers() }).toEqual({ delayMs, left: [] });
  }
});

it("delete --force of what was never there is done", () => removeByForce("nobody"));

it("twenty at once on one id: one makes it, the others say so, and one removal leaves nothing", async () => {
  const id = playground.id("same");
  prepare(id);
  const attempts = Array.from({ length: 20 }, () =>
    Bun.spawn([runc, "--root", playground.root, "create", "--bundle", playground.bundle, id], {
      stdio: ["ignore", "ignore", "ignore"],
    }),
  );
  const codes = await Promise.all(attempts.map(({ exited }) => exited));
  expect(codes.filter((code) => code === 0)).toHaveLength(1);
  expect(JSON.parse(playground.must("state", id)).status).toBe("created");
  const starts = Array.from({ length: 10 }, () =>
    Bun.spawn([runc, "--root", playground.root, "start", id], { stdio: ["ignore", "ignore", "ignore"] }),
  );
  const started = await Promise.all(starts.map(({ exited }) => exited));
  expect(started.filter((code) => code === 0)).toHaveLength(1);
  const removals = Array.from({ length: 10 }, () =>
    Bun.spawn([runc, "--root", playground.root, "delete", "--force", id], {
      stdio: ["ignore", "ignore", "ignore"],
    }),
  );
  await Promise.all(removals.map(({ exited }) => exited));
  removeByForce(id);
  expect(playground.leftovers()).toEqual([]);
});
