import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

test("lists and inspects tell what the engine itself knows while containerd doesn't answer", async () => {
  const { api, engine, image } = world;
  const id = await api.run(image, ["sleep", "100"], {}, "known");
  const containerd = engine.suite.pid("containerd") ?? 0;
  process.kill(containerd, "SIGSTOP");
  try {
    const started = performance.now();
    const { json } = await api.call("GET", "/containers/json");
    expect(json).toMatchObject([{ Id: id, Image: image, State: "running" }]);
    expect((await api.call("GET", "/containers/known/json")).json.State.Running).toBe(true);
    expect(performance.now() - started).toBeLessThan(10_000);
  } finally {
    process.kill(containerd, "SIGCONT");
  }
  await api.call("DELETE", `/containers/${id}?force=1`);
});
