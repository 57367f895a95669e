/** linux.netDevices of config-linux.md: interfaces of the host move into the container. */
import { afterAll, expect } from "bun:test";
import { it, type Patch, Playground } from "./playground.ts";

const playground = new Playground();
// Two: one that has gone with its namespace is only removed some time later.
const name = `lsd${process.pid % 100000}`;
const second = `lse${process.pid % 100000}`;

function ip(...args: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(["ip", ...args]);
  if (!success) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
  return stdout.toString();
}

afterAll(() => {
  for (const each of [name, second]) Bun.spawnSync(["ip", "link", "delete", each]);
  playground[Symbol.dispose]();
});

const show = "ip addr show | grep -E '^[0-9]+:|inet' | sed 's/^[0-9]*: //; s/^ *//'";

it("an interface moves with its global addresses, under the name that it is given, and is up", () => {
  ip("link", "add", name, "type", "veth", "peer", "name", `${name}p`);
  ip("addr", "add", "192.0.2.7/24", "dev", name);
  ip("addr", "add", "2001:db8::7/64", "dev", name);
  ip("addr", "add", "198.51.100.9/24", "dev", name, "scope", "link");
  ip("link", "set", name, "up");
  const { stdout, stderr } = playground.script(show, { linux: { netDevices: { [name]: { name: "eth7" } } } });
  expect(stderr).toBe("");
  expect(stdout).toMatch(/eth7@\S+ <[^>]*,UP/);
  expect(stdout).toContain("inet 192.0.2.7/24");
  expect(stdout).toContain("inet6 2001:db8::7/64");
  expect(stdout).not.toContain("198.51.100.9");
  // It goes with its namespace.
  expect(Bun.spawnSync(["ip", "link", "show", name]).success).toBe(false);
});

it("an interface keeps its name when no other is given", () => {
  ip("link", "add", second, "type", "veth", "peer", "name", `${second}p`);
  const { stdout, stderr } = playground.script(show, { linux: { netDevices: { [second]: {} } } });
  expect(stderr).toBe("");
  expect(stdout).toMatch(new RegExp(`${second}@\\S+ <[^>]*,UP`));
});

const hostNetwork = ["pid", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type }));

it.each([
  ["one that isn't there", { netDevices: { nosuch0: {} } }, "link not found for interface nosuch0"],
  ["a bad name", { netDevices: { "a/b": {} } }, 'invalid network device name \\"a/b\\"'],
  ["a bad new name", { netDevices: { lo: { name: "x".repeat(16) } } }, "invalid network device name"],
  ["no namespace", { netDevices: { x: {} }, namespaces: hostNetwork }, "without a NET namespace"],
  ["what can't be moved", { netDevices: { lo: { name: "lo9" } } }, "fail to move network device lo"],
] as [string, Patch, string][])("netDevices with %s are refused", (_, linux, words) => {
  const { code, stderr } = playground.run({ linux });
  expect(code).toBe(1);
  expect(stderr).toContain(words);
  expect(playground.leftovers()).toEqual([]);
});
