import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openStore } from "./open-store.ts";
import { storeContract } from "./store-contract.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "store-test-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

storeContract("sqlite", async () => openStore(`sqlite:${dir}/sub/contract.db`));

test("an SQLite store opened again has what was committed", async () => {
  const url = `sqlite:${dir}/again.db`;
  {
    await using store = openStore(url);
    await store.commit([{ op: "put", bucket: "b", key: "k", value: "1" }]);
  }
  await using store = openStore(url);
  expect(await store.get("b", "k")).toBe("1");
});

test("an SQLite database is readable by its owner only", async () => {
  await using _ = openStore(`sqlite:${dir}/private.db`);
  expect(fs.statSync(`${dir}/private.db`).mode & 0o777).toBe(0o600);
});

test("openStore() refuses an unknown scheme by name", () => {
  expect(() => openStore("etcd://x")).toThrow("etcd");
});

/** Run this in a process of its own that opens `store` on a database, and ends by SIGKILL. */
function inKilledProcess(name: string, work: string, before: string[] = []) {
  const script = path.join(dir, `${name}.ts`);
  fs.writeFileSync(
    script,
    `import { openStore } from ${JSON.stringify(path.join(import.meta.dir, "open-store.ts"))};
const store = openStore("sqlite:${dir}/${name}.db");
const put = (key: string, options = {}) => store.commit([{ op: "put", bucket: "b", key, value: "1" }], [], options);
${work}
process.kill(process.pid, "SIGKILL");
`,
  );
  Bun.spawnSync([...before, process.execPath, script]);
}

test("commit() to outlive the process is there after a kill", async () => {
  inKilledProcess("killed", `await put("light", { outlive: "process" });`);
  await using store = openStore(`sqlite:${dir}/killed.db`);
  expect(await store.get("b", "light")).toBe("1");
});

test.skipIf(!Bun.which("strace"))(
  "commit() waits for the disk unless it is only to outlive the process",
  () => {
    const syncs = (name: string, work: string): number => {
      const trace = path.join(dir, `${name}.trace`);
      inKilledProcess(name, work, ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", trace]);
      return fs.readFileSync(trace, "utf8").match(/\bf(data)?sync\(/g)?.length ?? 0;
    };
    const none = syncs("none", "");
    const light = `for (const key of "abcd") await put(key, { outlive: "process" });`;
    expect(syncs("light", light)).toBe(none);
    expect(syncs("heavy", `${light} await put("e"); await put("f");`)).toBeGreaterThanOrEqual(none + 2);
  },
);
