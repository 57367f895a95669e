import { afterAll, beforeAll, expect, test } from "bun:test";
import { openAddress } from "./import-source.ts";

let server: ReturnType<typeof Bun.serve>;
beforeAll(() => {
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    routes: { "/root.tar": new Response("bytes") },
    fetch: () => new Response("there is none\n", { status: 404 }),
  });
});
afterAll(() => server.stop(true));

const open = (address: string) => openAddress(address, new AbortController().signal);

test("openAddress() reads what is there, over http if the address doesn't say", async () => {
  const { url, stream } = await open(`127.0.0.1:${server.port}/root.tar`);
  expect(String(url)).toBe(`http://127.0.0.1:${server.port}/root.tar`);
  expect(Buffer.concat(await Array.fromAsync(stream)).toString()).toBe("bytes");
});

test("openAddress() tells in Docker's words what the server said, and that there is none", async () => {
  const address = `http://127.0.0.1:${server.port}/none`;
  await expect(open(address)).rejects.toMatchObject({
    code: "not_found",
    message: `failed to GET ${address} with status 404 Not Found: there is none`,
  });
  await expect(open("http://127.0.0.1:1/x")).rejects.toMatchObject({
    code: "internal",
    message: 'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused',
  });
  await expect(open("ftp://127.0.0.1/x")).rejects.toMatchObject({ code: "invalid_argument" });
});
