import { expect, test } from "bun:test";
import { EngineClient } from "./client.ts";

test("a body that comes in pieces is sent whole, empty pieces and all", async () => {
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) =>
      request.method === "PUT"
        ? new Response(await request.text())
        : new Response(null, { headers: { "Api-Version": "1.41" } }),
  });
  async function* body(): AsyncGenerator<Buffer> {
    for (const piece of ["one ", "", "two"]) yield Buffer.from(piece);
  }
  const tcp = { hostname: "127.0.0.1", port: server.port ?? 0 };
  const client = new EngineClient({ context: "default", name: "test", tcp });
  expect(await client.text({ method: "PUT", path: "/any", body: body() })).toBe("one two");
});
