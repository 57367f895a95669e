import { afterAll, test } from "bun:test";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { Redis } from "ioredis";
import { openStore } from "./open-store.ts";
import { storeContract } from "./store-contract.ts";

const server = Bun.which("redis-server");
const givenUrl = process.env.LONGSHORE_TEST_REDIS_URL;
if (givenUrl) {
  storeContract("redis", async () => {
    const client = new Redis(givenUrl);
    await client.flushdb();
    await client.quit();
    return openStore(givenUrl);
  });
} else if (server) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "store-redis-"));
  let child: Bun.Subprocess | undefined;
  afterAll(async () => {
    child?.kill();
    await child?.exited;
    fs.rmSync(dir, { recursive: true });
  });
  storeContract("redis", async () => {
    const port = await freePort();
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir];
    child = Bun.spawn([server, ...args], { stdout: "ignore", stderr: "ignore" });
    return openStore(`redis://127.0.0.1:${port}/0`);
  });
} else {
  test.skip("redis store: redis-server is not installed", () => {});
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
