import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DBus, DBusError } from "./dbus.ts";
import { decodeMessage, encodeMessage, METHOD_CALL, messageSize } from "./dbus-message.ts";
import { expandSlice, parseUnit } from "./systemd.ts";
import { annotatedProperties, rangeBits, unitProperties } from "./unit-properties.ts";

test("encodeMessage() and decodeMessage() are each other's inverse", () => {
  const message = {
    type: METHOD_CALL,
    serial: 7,
    path: "/a",
    member: "M",
    signature: "sba(sv)atyx",
    body: [
      "text",
      1,
      [
        ["one", { signature: "au", value: [1, 2] }],
        ["two", { signature: "t", value: 2n ** 64n - 1n }],
      ],
      [5n],
      255,
      -3n,
    ],
  };
  const bytes = encodeMessage(message);
  expect(messageSize(bytes)).toBe(bytes.length);
  expect(decodeMessage(bytes)).toEqual(message);
});

const daemon = ["/usr/bin/dbus-daemon", "/bin/dbus-daemon"].find((file) => fs.existsSync(file));
const it = daemon ? test : test.skip;
if (!daemon) console.log("the D-Bus client is tested against dbus-daemon, which is not installed");

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "dbus-test-"));
const address = path.join(dir, "bus");
let child: Bun.Subprocess | undefined;

beforeAll(async () => {
  if (!daemon) return;
  const config = path.join(dir, "bus.conf");
  fs.writeFileSync(
    config,
    `<busconfig><listen>unix:path=${address}</listen><auth>EXTERNAL</auth>
     <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
  );
  child = Bun.spawn([daemon, `--config-file=${config}`, "--nofork", "--print-address"], {
    stdout: "pipe",
    stderr: "ignore",
  });
  // Its address comes once it listens.
  if (child.stdout instanceof ReadableStream) await child.stdout.getReader().read();
});

afterAll(() => {
  child?.kill();
  fs.rmSync(dir, { recursive: true });
});

const BUS = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
};

it("DBus calls methods of the real daemon, gets its errors, and signals in between", () => {
  using bus = DBus.connect(address, { bus: true });
  expect(bus.call({ ...BUS, member: "ListNames" })[0]).toContain("org.freedesktop.DBus");
  const name = "org.longshore.Test";
  expect(bus.call({ ...BUS, member: "RequestName", signature: "su", body: [name, 0] })).toEqual([1]);
  // It came before the answer and was kept.
  expect(bus.signal(({ body }) => body[0] === name).member).toBe("NameAcquired");
  const [uid] = bus.call({ ...BUS, member: "GetConnectionUnixUser", signature: "s", body: [name] });
  expect(uid).toBe(process.getuid?.() ?? 0);
  try {
    bus.call({ ...BUS, member: "NoSuchMethod" });
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(DBusError);
    expect(error).toMatchObject({ error: "org.freedesktop.DBus.Error.UnknownMethod" });
  }
});

test("DBus.connect() fails where nobody listens", () => {
  expect(() => DBus.connect(path.join(dir, "nobody"), { bus: true })).toThrow("ENOENT");
});

test("parseUnit() and expandSlice() read the path as the original does", () => {
  expect(parseUnit("machine-a.slice:docker:1234", "id")).toEqual({
    slice: "machine-a.slice",
    name: "docker-1234.scope",
    container: "1234",
  });
  expect(parseUnit(undefined, "id").name).toBe("runc-id.scope");
  expect(() => parseUnit("/a/b", "id")).toThrow('format "slice:prefix:name"');
  expect(expandSlice("a-b.slice")).toBe("/a.slice/a-b.slice");
  expect(expandSlice("-.slice")).toBe("");
  expect(() => expandSlice("a--b.slice")).toThrow("invalid slice name");
  expect(() => expandSlice("a/b.slice")).toThrow("invalid slice name");
});

test("unitProperties() translates limits for both hierarchies", () => {
  const resources = {
    memory: { limit: 1 << 20, swap: 2 << 20 },
    cpu: { shares: 1024, quota: 25_555, period: 100_000, cpus: "0-1,9" },
    pids: { limit: 0 },
    devices: [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 1, minor: 3, access: "rw" },
      { allow: true, type: "b", major: 8, access: "r" },
    ],
  };
  const flat = (unified: boolean) =>
    Object.fromEntries(unitProperties(resources, unified).map(([name, { value }]) => [name, value]));
  expect(flat(true)).toMatchObject({
    MemoryMax: 1048576n,
    MemorySwapMax: 1048576n,
    CPUWeight: 100n,
    CPUQuotaPeriodUSec: 100000n,
    CPUQuotaPerSecUSec: 260000n,
    AllowedCPUs: [3, 2],
    TasksMax: 1n,
    DevicePolicy: "strict",
    DeviceAllow: [
      ["/dev/char/1:3", "rw"],
      ["block-8", "r"],
    ],
  });
  expect(flat(false)).toMatchObject({ MemoryLimit: 1048576n, CPUShares: 1024n });
  expect(rangeBits("0,3")).toEqual([9]);
});

test("annotatedProperties() reads values in the text form of GVariant", () => {
  expect(
    annotatedProperties({
      "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
      "org.systemd.property.RuntimeMaxSec": "5",
      "org.systemd.property.CollectMode": "'inactive-or-failed'",
      other: "x",
    }),
  ).toEqual([
    ["TimeoutStopUSec", { signature: "t", value: 123456789n }],
    ["RuntimeMaxUSec", { signature: "t", value: 5000000n }],
    ["CollectMode", { signature: "s", value: "inactive-or-failed" }],
  ]);
  expect(() => annotatedProperties({ "org.systemd.property.Nice": "nonsense" })).toThrow("value parse error");
});
