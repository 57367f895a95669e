/** Containers of a user who isn't root: a user namespace with his own id, and no cgroups. */
import { afterAll, afterEach, beforeAll, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { itWithUsers, Playground, runc, skipped } from "./playground.ts";

const USER = 15000;
const playground = new Playground();
const own = path.join(playground.dir, "own");
const bundle = path.join(own, "bundle");
const program = path.join(own, "runc");

beforeAll(() => {
  fs.mkdirSync(bundle, { recursive: true });
  if (!fs.existsSync(runc)) return;
  playground.makeRootfs(path.join(bundle, "rootfs"));
  // Where it was built, others may not be able to reach it.
  fs.copyFileSync(runc, program);
  fs.chmodSync(program, 0o755);
  Bun.spawnSync(["chown", "-R", "-h", `${USER}:${USER}`, own]);
});
afterAll(() => playground[Symbol.dispose]());
afterEach(() => {
  for (const id of fs.existsSync(`${own}/state`) ? fs.readdirSync(`${own}/state`) : []) {
    if (!id.startsWith(".")) asUser("delete", "--force", id);
  }
  expect(playground.leftovers().filter((line) => !line.startsWith("state "))).toEqual([]);
});

function asUser(...args: string[]) {
  const output = path.join(own, "output");
  const fd = fs.openSync(output, "w+");
  const user = ["--reuid", String(USER), "--regid", String(USER), "--clear-groups"];
  const { exitCode } = Bun.spawnSync(["setpriv", ...user, program, "--root", `${own}/state`, ...args], {
    cwd: bundle,
    env: { PATH: process.env.PATH, HOME: "/tmp" },
    stdio: ["ignore", fd, fd],
    timeout: 20_000,
  });
  fs.closeSync(fd);
  return { code: exitCode, output: fs.readFileSync(output, "utf8") };
}

function configure(...args: string[]): void {
  const file = path.join(bundle, "config.json");
  fs.rmSync(file, { force: true });
  expect(asUser("spec", "--rootless")).toEqual({ code: 0, output: "" });
  const config = JSON.parse(fs.readFileSync(file, "utf8"));
  config.process.args = args;
  config.process.terminal = false;
  config.root.readonly = false;
  fs.writeFileSync(file, JSON.stringify(config));
}

itWithUsers("a user runs a container as its root, in which he owns what he makes", () => {
  configure(
    "sh",
    "-c",
    "id -u; cat /proc/self/uid_map | tr -s ' '; touch /made; echo x > /dev/null; cat /proc/self/setgroups; ls /proc/1/exe > /dev/null; exit 4",
  );
  expect(asUser("run", "first")).toEqual({ code: 4, output: `0\n 0 ${USER} 1\ndeny\n` });
  expect(fs.statSync(path.join(bundle, "rootfs/made")).uid).toBe(USER);
});

itWithUsers("create, start, state, exec, list, kill and delete work; what needs a cgroup says so", () => {
  configure("sleep", "1000");
  expect(asUser("create", "second")).toEqual({ code: 0, output: "" });
  expect(JSON.parse(asUser("state", "second").output)).toMatchObject({ status: "created" });
  expect(asUser("start", "second")).toEqual({ code: 0, output: "" });
  expect(asUser("exec", "second", "id", "-u")).toEqual({ code: 0, output: "0\n" });
  expect(asUser("exec", "second", "sh", "-c", "cat /proc/1/comm; exit 6")).toEqual({
    code: 6,
    output: "sleep\n",
  });
  expect(asUser("list", "-q").output).toBe("second\n");
  expect(asUser("pause", "second").code).toBe(1);
  expect(asUser("delete", "--force", "second")).toEqual({ code: 0, output: "" });
  expect(asUser("list", "-q").output).toBe("");
});

itWithUsers("a user has no container without a user namespace, no cgroup by path and no more groups", () => {
  const file = path.join(bundle, "config.json");
  const refused = (change: (config: Record<string, Record<string, unknown>>) => void): string => {
    configure("true");
    const config = JSON.parse(fs.readFileSync(file, "utf8"));
    change(config);
    fs.writeFileSync(file, JSON.stringify(config));
    const { code, output } = asUser("run", "third");
    expect(code).toBe(1);
    return output;
  };
  const without = refused(({ linux }) => {
    if (!linux) return;
    linux.namespaces = [{ type: "mount" }, { type: "pid" }, { type: "uts" }];
    linux.uidMappings = linux.gidMappings = undefined;
  });
  expect(without).toContain("rootless container requires user namespaces");
  expect(
    refused(({ linux }) => {
      if (linux) linux.cgroupsPath = "/ls-runc-rootless";
    }),
  ).toMatch(/EACCES|permission denied/);
  expect(
    refused(({ process }) => {
      if (process) process.user = { uid: 0, gid: 0, additionalGids: [7] };
    }),
  ).toMatch(/unable to setup user|additional groups/);
});

itWithUsers("ranges are mapped by newuidmap and newgidmap, which say what they don't allow", () => {
  if (!Bun.which("newuidmap")) return skipped("ranges of a user: no newuidmap (package uidmap)");
  configure("true");
  const file = path.join(bundle, "config.json");
  const config = JSON.parse(fs.readFileSync(file, "utf8"));
  config.linux.uidMappings.push({ containerID: 1, hostID: 1, size: 5 });
  fs.writeFileSync(file, JSON.stringify(config));
  const { code, output } = asUser("run", "fourth");
  expect(code).toBe(1);
  expect(output).toContain("newuidmap");
});

itWithUsers("root of a user namespace runs containers that have none of their own", () => {
  configure("sh", "-c", "id -u; echo x > /dev/null; ls -l /dev/zero | cut -c1; touch /nested; echo done");
  const file = path.join(bundle, "config.json");
  const config = JSON.parse(fs.readFileSync(file, "utf8"));
  config.linux.namespaces = config.linux.namespaces.filter(({ type }: { type: string }) => type !== "user");
  config.linux.uidMappings = config.linux.gidMappings = undefined;
  fs.writeFileSync(file, JSON.stringify(config));
  const nested = Bun.spawnSync(
    [
      ...["setpriv", "--reuid", String(USER), "--regid", String(USER), "--clear-groups"],
      ...["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"],
      ...[program, "--root", `${own}/state`, "run", "nested"],
    ],
    { cwd: bundle, timeout: 20_000 },
  );
  expect(nested.stderr.toString()).toBe("");
  expect(nested.stdout.toString()).toBe("0\nc\ndone\n");
  expect(fs.statSync(path.join(bundle, "rootfs/nested")).uid).toBe(USER);
});
