import { expect, test } from "bun:test";
import { hostConfigSchema } from "../containers/container-config.ts";
import { mountsOf } from "./mounts.ts";

const etc = { hosts: "/d/hosts", hostname: "/d/hostname", resolvConf: "/d/resolv.conf" };
const mounts = (host: object, more: Partial<Parameters<typeof mountsOf>[0]> = {}) =>
  mountsOf({ host: hostConfigSchema.parse(host), etc, ...more });
const at = (list: ReturnType<typeof mounts>, destination: string) =>
  list.find((one) => one.destination === destination);

test("mountsOf() has Docker's defaults, parents first", () => {
  const list = mounts({});
  expect(at(list, "/sys")?.options).toContain("ro");
  expect(at(list, "/dev/shm")?.options).toContain("size=67108864");
  expect(at(list, "/etc/hosts")?.source).toBe("/d/hosts");
  const order = list.map(({ destination }) => destination);
  expect(order.indexOf("/dev")).toBeLessThan(order.indexOf("/dev/pts"));
  expect(order.indexOf("/sys")).toBeLessThan(order.indexOf("/sys/fs/cgroup"));
});

test("mountsOf() puts the user's mounts in the place of its own", () => {
  const own = { destination: "/etc/hosts", type: "bind", source: "/my/hosts", options: ["rbind", "ro"] };
  const list = mounts({ Tmpfs: { "/run": "size=1m" } }, { mounts: [own] });
  expect(list.filter(({ destination }) => destination === "/etc/hosts")).toHaveLength(1);
  expect(at(list, "/etc/hosts")?.options).toEqual(["rbind", "ro"]);
  expect(at(list, "/run")?.options).toContain("size=1m");
});

test("mountsOf() takes a tmpfs's options, and refuses what is none by name", () => {
  const options = at(mounts({ Tmpfs: { "/t": "exec,defaults,mode=700,uid=5" } }), "/t")?.options;
  expect(options?.slice(-3)).toEqual(["exec", "mode=700", "uid=5"]);
  expect(() => mounts({ Tmpfs: { "/t": "size=1m,foo=1" } })).toThrow('invalid tmpfs option "foo"');
  expect(() => mounts({ Tmpfs: { "/t": "size" } })).toThrow('invalid tmpfs option "size"');
});

test("mountsOf() lets a privileged container write to /sys", () => {
  expect(at(mounts({ Privileged: true }), "/sys")?.options).not.toContain("ro");
});

test("mountsOf() takes a /dev/shm that is shared, and lets cgroups be written to where that is asked for", () => {
  expect(at(mounts({ IpcMode: "shareable" }, { shm: "/run/shm/x" }), "/dev/shm")).toMatchObject({
    type: "bind",
    source: "/run/shm/x",
  });
  const list = mounts({}, { writableCgroups: true });
  expect(at(list, "/sys/fs/cgroup")?.options).not.toContain("ro");
  expect(at(list, "/sys")?.options).toContain("ro");
});
