import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { journaledStore } from "./journaled-store.ts";
import { openStore } from "./open-store.ts";
import { scopedStore } from "./scoped-store.ts";
import type { Store } from "./store.ts";

const server = Bun.which("redis-server");
const put = (key: string, value: string) => ({ op: "put", bucket: "facts", key, value }) as const;

describe.skipIf(!server)("a Redis store whose server goes away", () => {
  let dir: string;
  let port: number;
  let child: Bun.Subprocess | undefined;
  let store: Store;
  let waits: boolean[];

  const journal = () => path.join(dir, "journal");
  const open = () =>
    journaledStore(openStore(`redis://127.0.0.1:${port}/0`), journal(), (on) => waits.push(on));

  async function start(): Promise<void> {
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--dir", dir];
    child = Bun.spawn([server ?? "", ...args], { stdout: "ignore", stderr: "ignore" });
    for (;;) {
      const up = await new Promise<boolean>((resolve) => {
        const probe = net.connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
        probe.unref();
      });
      if (up) return;
      await Bun.sleep(10);
    }
  }

  async function kill(): Promise<void> {
    child?.kill("SIGKILL");
    await child?.exited;
  }

  beforeEach(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "redis-away-"));
    port = await freePort();
    waits = [];
    await start();
    store = open();
  });
  afterEach(async () => {
    await store[Symbol.asyncDispose]();
    await kill();
    fs.rmSync(dir, { recursive: true });
  });

  test("commits are refused by a message that names it, and go through when it is back", async () => {
    await store.commit([put("a", "1")]);
    await kill();
    const unavailable = expect.objectContaining({
      code: "unavailable",
      message: expect.stringContaining(`the state store at redis://127.0.0.1:${port} can't be reached`),
    });
    await expect(store.commit([put("a", "2")])).rejects.toEqual(unavailable);
    await expect(store.check()).rejects.toEqual(unavailable);
    await start();
    while (
      await store.check().then(
        () => false,
        () => true,
      )
    ); // ioredis tries by itself
    expect(await store.get("facts", "a")).toBe("1");
    await store.commit([put("a", "3")]);
    expect(await store.get("facts", "a")).toBe("3");
  });

  test("what has happened is kept and arrives in order, before what comes later", async () => {
    await kill();
    await store.commit([put("x", "1"), put("y", "1")], [], { whenAway: "keep" });
    await store.commit([put("x", "2")], [], { whenAway: "keep" });
    await store.commit([{ op: "delete", bucket: "facts", key: "y" }], [], { whenAway: "keep" });
    expect(waits).toEqual([true]);
    await start();
    while (
      await store.commit([put("z", "1")]).then(
        () => false,
        () => true,
      )
    );
    expect(await store.list("facts")).toEqual([
      { key: "x", value: "2" },
      { key: "z", value: "1" },
    ]);
    expect(waits).toEqual([true, false]);
    expect(fs.existsSync(journal())).toBe(false);
  });

  test("a daemon that comes after finds what was kept, but for a line that was never finished", async () => {
    await kill();
    await store.commit([put("x", "1")], [], { whenAway: "keep" });
    await store[Symbol.asyncDispose]();
    fs.appendFileSync(journal(), '[{"op":"put","bu');
    await start();
    store = open();
    while (
      await store.get("facts", "x").then(
        (value) => value !== "1",
        () => true,
      )
    );
    expect(await store.list("facts")).toHaveLength(1);
  });

  test("scopes are apart", async () => {
    const [one, other] = [scopedStore(store, "one"), scopedStore(store, "other")];
    await one.commit([put("k", "1")]);
    await other.commit([put("k", "2")], [{ is: "absent", bucket: "facts", key: "k" }]);
    expect([await one.get("facts", "k"), await other.get("facts", "k")]).toEqual(["1", "2"]);
    expect(await store.list("one/facts")).toEqual([{ key: "k", value: "1" }]);
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
