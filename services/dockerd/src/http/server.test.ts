import { expect, test } from "bun:test";
import path from "node:path";
import { createLogger } from "@longshore/log";
import { eventually, tempDir } from "@longshore/testkit";
import { Authorizer } from "../authz/authorizer.ts";
import { ApiServer, type Route } from "./server.ts";

async function* withoutEnd(): AsyncGenerator<Buffer> {
  for (;;) {
    yield Buffer.alloc(256 << 10, "x");
    await Promise.resolve();
  }
}

test("ApiServer logs what fails, but not that a client went away before it had read all", async () => {
  using dir = tempDir();
  const lines: string[] = [];
  const log = createLogger("test", { stream: { write: (line) => lines.push(line) } });
  const server = new ApiServer(log, new Authorizer(), { onCall: () => {}, onDone: () => {} });
  const ended = Promise.withResolvers<unknown>();
  const routes: Route[] = [
    {
      method: "GET",
      path: "/long",
      handler: async (call) => {
        try {
          await call.send("text/plain", withoutEnd());
        } catch (error) {
          ended.resolve(error);
          throw error;
        }
      },
    },
    { method: "GET", path: "/broken", handler: () => Promise.reject(new Error("a bug")) },
  ];
  server.add(routes);
  const unix = path.join(dir.path, "sock");
  await server.listen([{ kind: "unix", path: unix }], {
    tls: undefined,
    group: undefined,
    checkAddress() {},
  });
  const abort = new AbortController();
  const { body } = await fetch("http://docker/long", { unix, signal: abort.signal });
  await body?.getReader().read();
  abort.abort();
  expect(await ended.promise).toBeInstanceOf(Error);
  expect((await fetch("http://docker/broken", { unix })).status).toBe(500);
  await eventually(() => lines.length > 0, { what: "a line of the log" });
  expect(lines.map((line) => JSON.parse(line).url)).toEqual(["/broken"]);
  server.close();
});
