import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Answer, HostileRegistry, type Reply, smallImage } from "./hostile.ts";
import { noise, sha256 } from "./images.ts";
import { Stage, until } from "./peers.ts";
import {
  failureOf,
  finalStates,
  ingests,
  login,
  pullAll,
  request,
  type Service,
  skipReason,
  startService,
  storedLabels,
} from "./service.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

const LAYER_BYTES = 3_000_000;
let seed = 100;

describe.skipIf(skipReason !== "")("registry-client with registries that misbehave", () => {
  let stage: Stage;
  let service: Service;

  beforeAll(async () => {
    stage = new Stage();
    service = await startService(stage);
  }, 30_000);
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  /** A registry of one new image, where `twist` may answer instead. */
  async function registryOf(
    twist: (image: ReturnType<typeof smallImage>) => (...args: Parameters<Answer>) => Reply | undefined,
  ) {
    seed += 1;
    const image = smallImage(noise(LAYER_BYTES, seed));
    const twisted = twist(image);
    const registry = await HostileRegistry.start(stage, (r, n) => twisted(r, n) ?? image.answer(r, n));
    return { image, registry, name: `${registry.host}/x:1` };
  }

  const isLayer = (image: { layerDigest: string }, path: string) => path.endsWith(image.layerDigest);

  test("a connection cut at 60 % is resumed by Range behind the last byte", async () => {
    const cutAfter = LAYER_BYTES * 0.6;
    const { image, registry, name } = await registryOf((image) => ({ path, headers }) => {
      if (!isLayer(image, path)) return undefined;
      const [, start] = /^bytes=(\d+)-$/.exec(headers.range ?? "") ?? [];
      if (start === undefined) return { status: 200, body: image.layer, cutAfter };
      const rest = image.layer.subarray(Number(start));
      const range = `bytes ${start}-${image.layer.length - 1}/${image.layer.length}`;
      return { status: 206, headers: { "Content-Range": range }, body: rest };
    });
    const events = await pullAll(service, request(name));
    expect(finalStates(events)[image.layerDigest]).toBe("COMPLETE");
    const ranges = registry.seen(image.layerDigest).map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/)]);
    const from = Number(ranges[1]?.replace(/\D/g, ""));
    expect(from).toBeGreaterThan(0);
    expect(from).toBeLessThanOrEqual(cutAfter);
  });

  test("a registry without ranges sends it all again, and what is there is skipped", async () => {
    const { image, name } = await registryOf(
      (image) =>
        ({ path }, count) =>
          isLayer(image, path) && count === 1
            ? { status: 200, body: image.layer, cutAfter: 1_000_000 }
            : undefined,
    );
    const events = await pullAll(service, request(name));
    expect(finalStates(events)[image.layerDigest]).toBe("COMPLETE");
  });

  test("a range other than the one asked for starts the blob anew", async () => {
    const { image, name } = await registryOf((image) => ({ path, headers }) => {
      if (!isLayer(image, path)) return undefined;
      if (headers.range === undefined) return { status: 200, body: image.layer, cutAfter: 500_000 };
      return { status: 206, headers: { "Content-Range": "bytes 7-9/10" }, body: "abc" };
    });
    expect(await failureOf(pullAll(service, request(name)))).toEqual({
      code: "out_of_range",
      message: expect.stringContaining("the registry can't go on at byte"),
    });
    expect(await ingests(service)).not.toHaveProperty(`layer-${image.layerDigest}`);
  });

  test("a wrong digest is data loss that names both, and leaves nothing behind", async () => {
    const { image, name } = await registryOf(
      (image) =>
        ({ path }) =>
          isLayer(image, path) ? { status: 200, body: Buffer.alloc(LAYER_BYTES, 7) } : undefined,
    );
    const failure = await failureOf(pullAll(service, request(name)));
    expect(failure.code).toBe("data_loss");
    expect(failure.message).toContain(image.layerDigest);
    expect(failure.message).toContain(sha256(Buffer.alloc(LAYER_BYTES, 7)));
    expect(await ingests(service)).not.toHaveProperty(`layer-${image.layerDigest}`);
    expect(await storedLabels(service)).not.toHaveProperty(image.layerDigest);
  });

  test("bad bytes from before a restart of the service are found, and the blob fetched anew", async () => {
    const { image, registry, name } = await registryOf(() => () => undefined);
    const ref = `layer-${image.layerDigest}`;
    await leaveIngest(service, ref, Buffer.alloc(4096, 1));
    const events = await pullAll(service, request(name));
    expect(finalStates(events)[image.layerDigest]).toBe("COMPLETE");
    expect(registry.seen(image.layerDigest)).toHaveLength(2);
  });

  test("a body longer than the manifest says is refused before its end", async () => {
    const { image, name } = await registryOf(
      (image) =>
        ({ path }) =>
          isLayer(image, path) ? { status: 200, body: noise(65536), endless: true } : undefined,
    );
    const failure = await failureOf(pullAll(service, request(name)));
    expect(failure.code).toBe("data_loss");
    expect(failure.message).toContain(`longer than the ${image.layer.length} bytes`);
  });

  test("a body that always ends early fails after some attempts, and keeps what came", async () => {
    const { image, registry, name } = await registryOf(
      (image) =>
        ({ path, headers }) =>
          isLayer(image, path)
            ? headers.range
              ? { status: 503 }
              : { status: 200, body: image.layer, cutAfter: 1_000_000 }
            : undefined,
    );
    expect((await failureOf(pullAll(service, request(name)))).code).toBe("unavailable");
    const kept = (await ingests(service))[`layer-${image.layerDigest}`] ?? 0;
    expect(kept).toBeGreaterThan(0);
    expect(registry.seen(image.layerDigest).length).toBeGreaterThan(3);
  }, 60_000);

  test("a cancelled pull stops and keeps its partial ingest", async () => {
    const { image, registry, name } = await registryOf(
      (image) =>
        ({ path }) =>
          isLayer(image, path) ? { status: 200, body: image.layer, pace: 1_000_000 } : undefined,
    );
    const abort = new AbortController();
    const pulling = (async () => {
      for await (const { event } of service.registry.pull(request(name), { signal: abort.signal })) {
        if (event?.$case === "progress" && event.value.offset > 500_000n) abort.abort();
      }
    })();
    expect((await failureOf(pulling)).code).toBe("canceled");
    await until("the ingest to be let go", async () => {
      const offset = (await ingests(service))[`layer-${image.layerDigest}`] ?? 0;
      return offset >= 500_000 && offset < LAYER_BYTES;
    });
    expect(registry.seen(image.layerDigest)).toHaveLength(1);
  });

  test("429 with Retry-After is waited for, and asked again", async () => {
    const times: number[] = [];
    const { name } = await registryOf((image) => ({ path }, count) => {
      if (!isLayer(image, path)) return undefined;
      times.push(performance.now());
      return count === 1 ? { status: 429, headers: { "Retry-After": "1" } } : undefined;
    });
    await pullAll(service, request(name));
    expect(times).toHaveLength(2);
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(950);
  });

  test("429 that asks for an hour fails at once", async () => {
    const { name } = await registryOf(
      () =>
        ({ path }) =>
          path.includes("/manifests/")
            ? { status: 429, headers: { "Retry-After": "3600" }, body: "slow" }
            : undefined,
    );
    expect(await failureOf(pullAll(service, request(name)))).toEqual({
      code: "resource_exhausted",
      message: "toomanyrequests: slow",
    });
  });

  test("a redirect to another host gets no Authorization; the registry itself does", async () => {
    const elsewhere = await HostileRegistry.start(stage, () => ({
      status: 200,
      body: noise(LAYER_BYTES, seed),
    }));
    const { image, registry, name } = await registryOf((image) => ({ path, headers }) => {
      if (headers.authorization === undefined) {
        return { status: 401, headers: { "WWW-Authenticate": 'Basic realm="r"' } };
      }
      if (!isLayer(image, path)) return undefined;
      return { status: 307, headers: { Location: `http://${elsewhere.host}/blob?signature=s` } };
    });
    await pullAll(service, request(name, { credentials: login("me", "secret") }));
    expect(elsewhere.requests).toHaveLength(1);
    expect(elsewhere.requests[0]?.headers).not.toHaveProperty("authorization");
    expect(registry.seen(image.layerDigest)[0]?.headers.authorization).toBe(`Basic ${btoa("me:secret")}`);
  });

  test("a bearer token is fetched for the repository's scope, and renewed when the registry refuses it", async () => {
    let issued = 0;
    const tokens = await HostileRegistry.start(stage, () => {
      issued += 1;
      return { status: 200, body: JSON.stringify({ token: `t${issued}`, expires_in: 300 }) };
    });
    const challenge = `Bearer realm="http://${tokens.host}/token",service="svc"`;
    const { name } = await registryOf((image) => ({ path, headers }) => {
      const fresh = isLayer(image, path) ? "Bearer t2" : "Bearer t1";
      const known = headers.authorization === fresh || headers.authorization === "Bearer t2";
      return known ? undefined : { status: 401, headers: { "WWW-Authenticate": challenge } };
    });
    await pullAll(service, request(name, { credentials: login("me", "secret") }));
    expect(issued).toBe(2);
    const [first] = tokens.requests;
    expect(first?.path).toBe("/token?service=svc&scope=repository%3Ax%3Apull");
    expect(first?.headers.authorization).toBe(`Basic ${btoa("me:secret")}`);
  });

  test("an identity token is exchanged by POST", async () => {
    const tokens = await HostileRegistry.start(stage, () => ({ status: 200, body: '{"access_token":"t"}' }));
    const { name } = await registryOf(
      () =>
        ({ headers }) =>
          headers.authorization === "Bearer t"
            ? undefined
            : {
                status: 401,
                headers: { "WWW-Authenticate": `Bearer realm="http://${tokens.host}/t",service="s"` },
              },
    );
    await pullAll(service, request(name, { credentials: { ...login("", ""), identityToken: "refresh" } }));
    expect(tokens.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(["POST /t"]);
  });

  test("a token server that is none gets nothing", async () => {
    const { name } = await registryOf(() => () => ({
      status: 401,
      headers: { "WWW-Authenticate": 'Bearer realm="ftp://192.0.2.1/token"' },
    }));
    const failure = await failureOf(pullAll(service, request(name, { credentials: login("me", "secret") })));
    expect(failure.code).toBe("unauthenticated");
    expect(failure.message).toContain("invalid token server");
  });

  test("a refused token is told as such", async () => {
    const tokens = await HostileRegistry.start(stage, () => ({
      status: 401,
      body: '{"details":"incorrect username or password"}',
    }));
    const { name } = await registryOf(() => () => ({
      status: 401,
      headers: { "WWW-Authenticate": `Bearer realm="http://${tokens.host}/t"` },
    }));
    const failure = await failureOf(pullAll(service, request(name, { credentials: login("me", "bad") })));
    expect(failure.code).toBe("unauthenticated");
    expect(failure.message).toContain("unauthorized: incorrect username or password");
    expect(failure.message).not.toContain('bad"');
  });

  /** What a challenge is answered with by a client that keeps its head. */
  async function challenged(header: string | undefined, reply?: (count: number) => Reply) {
    const before = Object.keys(await storedLabels(service));
    const tokens = await HostileRegistry.start(stage, (_seen, count) => reply?.(count) ?? { status: 404 });
    const filled = header?.replaceAll("TOKENS", tokens.host);
    const headers: Record<string, string> = filled === undefined ? {} : { "WWW-Authenticate": filled };
    const { name, registry } = await registryOf(() => () => ({ status: 401, headers }));
    const failure = await failureOf(pullAll(service, request(name, { credentials: login("me", "secret") })));
    expect(failure.message).toMatch(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{10,1500}$/u); // a line for a terminal
    expect(failure.message).not.toContain("secret");
    expect(["internal", "canceled"]).not.toContain(failure.code);
    expect(Object.keys(await storedLabels(service))).toEqual(before);
    expect(Object.keys(await ingests(service)).filter((ref) => ref.startsWith("manifest-"))).toEqual([]);
    return { ...failure, registry, tokens };
  }

  test.each<[string, string | undefined, string, string]>([
    ["no challenge at all", undefined, "unauthenticated", "unauthorized: authentication required"],
    ["an empty one", "", "unauthenticated", "unauthorized: authentication required"],
    ["a scheme that nobody knows", 'Negotiate oid="x"', "unauthenticated", "authentication required"],
    ["schemes that nobody knows", "Digest, NTLM TlRMTVNTUAAB==, Mutual", "unauthenticated", "required"],
    ["parameters without a scheme", 'realm="https://r",scope="x"', "unauthenticated", "required"],
    ["nothing but separators", ",,,,;;;===", "unauthenticated", "required"],
    ["a string without its end", 'Bearer realm="https://r', "unauthenticated", 'invalid token server ""'],
    ["no realm", 'Bearer service="s"', "unauthenticated", 'invalid token server ""'],
    ["a realm that is no URL", 'Bearer realm="not a url"', "unauthenticated", 'server "not a url"'],
    ["a relative realm", 'Bearer realm="/token"', "unauthenticated", 'invalid token server "/token"'],
    [
      "a realm that is a file",
      'Bearer realm="file:///etc/passwd"',
      "unauthenticated",
      "invalid token server",
    ],
    ["a realm that is code", 'Bearer realm="javascript:x"', "unauthenticated", "invalid token server"],
    ["a realm that is data", "Bearer realm=\"data:,{'token':'t'}\"", "unauthenticated", "invalid token"],
    ["a realm of 100 kB", `Bearer realm="${"x".repeat(100_000)}"`, "unauthenticated", "invalid token server"],
    ["a scope of 8 kB", `Bearer realm="http://TOKENS/t",scope="${"y ".repeat(4000)}"`, "unknown", "404"],
    [
      "bytes that are no text",
      'Bearer realm="\u00ff\u0080\u001b[2J"',
      "unavailable",
      "malformed HTTP response",
    ],
    ["terminal sequences", 'Bearer realm="\t\u0085\u202e"', "unauthenticated", "invalid token server"],
    ["names of JavaScript", "Bearer __proto__=x,constructor=y,realm=z", "unauthenticated", "invalid token"],
  ])("a 401 with %s is refused in clear words", async (_what, header, code, message) => {
    const failure = await challenged(header);
    expect(failure.message).toContain(message);
    expect(failure.code).toBe(code);
  });

  test.each<[string, (count: number) => Reply, string, RegExp]>([
    ["no JSON", () => ({ status: 200, body: "<html>" }), "unauthenticated", /gave no token/],
    ["JSON of another kind", () => ({ status: 200, body: "[null]" }), "unauthenticated", /gave no token/],
    ["no token", () => ({ status: 200, body: '{"expires_in":300}' }), "unauthenticated", /gave no token/],
    [
      "a token that is none",
      () => ({ status: 200, body: '{"token":{"a":1}}' }),
      "unauthenticated",
      /no token/,
    ],
    [
      "a token with a second header in it",
      () => ({ status: 200, body: '{"token":"a\\r\\nX-Evil: 1"}' }),
      "unauthenticated",
      /gave no token/,
    ],
    [
      "a token of 900 kB",
      () => ({ status: 200, body: JSON.stringify({ token: "t".repeat(900_000) }) }),
      "unauthenticated",
      /authentication required/,
    ],
    [
      "no end",
      () => ({ status: 200, body: Buffer.alloc(65536, 32), endless: true }),
      "resource_exhausted",
      /longer/,
    ],
    [
      "half an answer",
      () => ({ status: 200, body: '{"token":"abcdef"}', cutAfter: 9 }),
      "unavailable",
      /connection reset by peer|unexpected EOF|closed/,
    ],
    [
      "itself, again and again",
      () => ({ status: 302, headers: { Location: "/t" } }),
      "unknown",
      /5 redirects/,
    ],
    [
      "a file",
      () => ({ status: 302, headers: { Location: "file:///etc/shadow" } }),
      "unknown",
      /invalid location/,
    ],
    [
      "a challenge of its own",
      () => ({ status: 401, headers: { "WWW-Authenticate": "Basic" } }),
      "unauthenticated",
      /refused/,
    ],
    [
      "words for a terminal",
      () => ({ status: 403, body: "a\u001b[31m\r\nb\u0000" }),
      "permission_denied",
      /refused/,
    ],
    [
      "tokens that never help",
      (count) => ({ status: 200, body: `{"token":"t${count}"}` }),
      "unauthenticated",
      /required/,
    ],
  ])("a token server that answers with %s is refused in clear words", async (_what, reply, code, message) => {
    const { tokens, ...failure } = await challenged('Bearer realm="http://TOKENS/t",service="s"', reply);
    expect(failure.message).toMatch(message);
    expect(failure.code).toBe(code);
    expect(tokens.requests.length).toBeLessThanOrEqual(8); // no loop
  });

  test("challenges of any bytes end in a clear error, and none of them leaves anything", async () => {
    const word = fc.constantFrom(
      "Bearer",
      "Basic",
      "realm",
      "scope",
      "service",
      "error",
      "=",
      ",",
      '"',
      "\\",
      " ",
    );
    const text = fc.oneof(word, fc.constantFrom("http://", "https://", "[::1", "%", "\u00e9", "{}"));
    const header = fc.oneof(
      fc.array(fc.oneof(word, text)).map((parts) => parts.join("")),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(header, async (value) => {
        await challenged(`Bearer x=${value.replace(/[\0\r\n]/g, "")}`);
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  test.each<[string, Reply, string, string]>([
    ["garbage", { status: 200, body: "<html>" }, "invalid_argument", "manifest is not JSON"],
    [
      "schema 1",
      {
        status: 200,
        headers: { "Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws" },
        body: "{}",
      },
      "invalid_argument",
      "schema 1 support has been removed",
    ],
    [
      "no end",
      { status: 200, body: Buffer.alloc(65536, 32), endless: true },
      "resource_exhausted",
      "longer than 4194304 bytes",
    ],
    [
      "a digest that does not fit",
      { status: 200, headers: { "Docker-Content-Digest": `sha256:${"0".repeat(64)}` }, body: "{}" },
      "data_loss",
      `manifest verification failed for digest sha256:${"0".repeat(64)}: the registry sent ${sha256("{}")}`,
    ],
    [
      "an error that is no JSON",
      { status: 404, headers: { "Content-Type": "application/json" }, body: "{" },
      "unknown",
      "error parsing HTTP 404",
    ],
    [
      "a redirect without end",
      { status: 302, headers: { Location: "/v2/x/manifests/1" } },
      "unknown",
      "stopped after 5 redirects",
    ],
    [
      "a redirect to a file",
      { status: 302, headers: { Location: "file:///etc/passwd" } },
      "unknown",
      "invalid location",
    ],
  ])("a manifest answered with %s", async (_what, reply, code, message) => {
    const { name } = await registryOf(
      () =>
        ({ path, method }) =>
          path.includes("/manifests/") ? (method === "HEAD" ? { status: 405 } : reply) : undefined,
    );
    const failure = await failureOf(pullAll(service, request(name)));
    expect(failure.code).toBe(code);
    expect(failure.message).toContain(message);
  });

  test.each<[string, Answer]>([
    [
      "the same names on ever new pages",
      ({ path }) => {
        const next = Number(/page=(\d+)/.exec(path)?.[1] ?? 0) + 1;
        const headers = { Link: `</v2/_catalog?page=${next}>; rel="next"` };
        return { status: 200, headers, body: '{"repositories":[]}' };
      },
    ],
    [
      "pages of long names",
      ({ path }) => {
        const next = Number(/page=(\d+)/.exec(path)?.[1] ?? 0) + 1;
        const headers = { Link: `</v2/_catalog?page=${next}>; rel="next"` };
        return { status: 200, headers, body: JSON.stringify({ repositories: ["x".repeat(4_000_000)] }) };
      },
    ],
    ["one page without end", () => ({ status: 200, body: Buffer.alloc(65536, 32), endless: true })],
  ])(
    "a catalog of %s is refused",
    async (_what, answer) => {
      const registry = await HostileRegistry.start(stage, (seen, count) =>
        seen.path.includes("_catalog") ? answer(seen, count) : { status: 200, body: "{}" },
      );
      const search = { term: `${registry.host}/x`, limit: 25, credentials: undefined, hosts: undefined };
      const failure = await failureOf(service.registry.search(search, { timeoutMs: 60_000 }));
      expect(failure.message).toMatch(
        /the registry's list of repositories has no end|longer than 16777216 bytes/,
      );
      expect(["data_loss", "resource_exhausted"]).toContain(failure.code);
    },
    60_000,
  );

  test("a config that says it is larger than any is not fetched", async () => {
    const { image, registry, name } = await registryOf((image) => ({ path, method }) => {
      if (!path.includes("/manifests/")) return undefined;
      const manifest = JSON.parse(image.manifest.toString());
      manifest.config.size = 2 ** 33;
      return method === "HEAD" ? { status: 405 } : { status: 200, body: JSON.stringify(manifest) };
    });
    const failure = await failureOf(pullAll(service, request(name)));
    expect([failure.code, failure.message]).toEqual([
      "resource_exhausted",
      expect.stringContaining("its config would have 8589934592 bytes, and the limit is 8388608"),
    ]);
    expect(registry.seen("/blobs/")).toEqual([]);
    expect(Object.keys(await ingests(service))).not.toContain(`layer-${image.layerDigest}`);
  });

  test("the service has survived all of this", async () => {
    expect(service.process.exitCode).toBeNull();
    expect((await service.health.check({ service: "" })).status).toBe(1);
  });
});

/** Leave bytes in an ingest, as a process that was killed would. */
async function leaveIngest(service: Service, ref: string, data: Buffer): Promise<void> {
  async function* writes() {
    const base = { ref, total: 0n, expected: "", offset: 0n, labels: {} };
    yield { ...base, action: 0 as const, data: Buffer.alloc(0) };
    yield { ...base, action: 1 as const, data };
  }
  for await (const _response of service.content.write(writes())) {
    // each message has its answer
  }
}
