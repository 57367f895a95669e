import { expect, test } from "bun:test";
import { Authorizer } from "./authorizer.ts";
import { DEFAULT_LIMITS } from "./http.ts";
import { TokenCache } from "./token-cache.ts";

const never = new AbortController().signal;

function authorizer(realm: string, { insecure = false, documentMs = DEFAULT_LIMITS.documentMs } = {}) {
  const made = new Authorizer({
    credentials: { username: "me", password: "secret", identityToken: "", registryToken: "" },
    via: {
      insecure,
      certificates: () => ({ ca: [] }),
      proxies: { httpProxy: "", httpsProxy: "", noProxy: "" },
    },
    limits: { ...DEFAULT_LIMITS, documentMs, backoffMs: 1 },
    tokens: new TokenCache(),
  });
  made.learn(`Bearer realm="${realm}"`, []);
  return made;
}

test("Authorizer sends no password to a token server on plain http elsewhere", async () => {
  const asked = authorizer("http://192.0.2.1/token").authorization([], never);
  expect(asked).rejects.toMatchObject({
    code: "permission_denied",
    message: "token server http://192.0.2.1 is on plain http, which is not allowed",
  });
});

test("Authorizer gives up on a token that comes a byte at a time", async () => {
  await using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () =>
      new Response(
        (async function* () {
          yield '{"token":"';
          for (;;) {
            await Bun.sleep(10);
            yield "t";
          }
        })(),
      ),
  });
  const asked = authorizer(`http://127.0.0.1:${server.port}/`, { documentMs: 200 }).authorization([], never);
  expect(asked).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("timed out while reading the body"),
  });
  await asked.catch(() => {});
  await server.stop(true);
});
