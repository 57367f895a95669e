import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { FaultProxy, ForwardProxy } from "./fault-proxy.ts";
import { type BlobDescriptor, Layout } from "./images.ts";
import { run, Stage, startRegistry } from "./peers.ts";
import { binary, skipReason } from "./service.ts";
import { makeCertificate, REFRESH_TOKEN, startTokenServer, type TokenServer } from "./token-server.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

describe.skipIf(skipReason !== "")("registry-client proves who it is", () => {
  let stage: Stage;
  let image: BlobDescriptor;
  let layout: Layout;
  let tokens: TokenServer;
  let registry: string;

  beforeAll(async () => {
    stage = new Stage();
    layout = new Layout(stage, "layout");
    image = await layout.image("amd64", { a: Buffer.from("a") });
    layout.tag("x", image);
    tokens = await startTokenServer(stage, { me: "secret" });
    registry = await startRegistry(stage, { auth: tokens.config });
    await layout.push("x", `${registry}/me/private:1`, "--dest-creds", "me:secret");
  }, 60_000);
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  /** Run the tool with a config.json of this content. */
  async function tool(
    config: unknown,
    args: string[],
    more: { input?: string; env?: Record<string, string> } = {},
  ) {
    const dir = fs.mkdtempSync(path.join(stage.dir, "config-"));
    fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify(config));
    tokens.calls.length = 0;
    return run([binary, ...args], more.input, { DOCKER_CONFIG: dir, ...more.env });
  }
  const auths = (entry: Record<string, string>) => ({ auths: { [registry]: entry } });
  const login = { auth: Buffer.from("me:secret").toString("base64") };
  const digestOf = (out: string) => (JSON.parse(out) as { digest: string }).digest;

  test("gets a token by Basic, for the scope that it needs", async () => {
    expect(digestOf(await tool(auths(login), ["resolve", `${registry}/me/private:1`]))).toBe(image.digest);
    expect(tokens.calls.map(({ method, scopes }) => [method, scopes])).toEqual([
      ["GET", ["repository:me/private:pull"]],
    ]);
    expect(tokens.calls[0]?.fields.service).toBe("test-registry");
  });

  test("exchanges an identity token by OAuth2, and never sends it elsewhere", async () => {
    const out = await tool(auths({ identitytoken: REFRESH_TOKEN }), ["resolve", `${registry}/me/private:1`]);
    expect(digestOf(out)).toBe(image.digest);
    expect(tokens.calls).toMatchObject([
      {
        method: "POST",
        authorization: "",
        fields: { grant_type: "refresh_token", refresh_token: REFRESH_TOKEN },
      },
    ]);
  });

  test("sends the password by OAuth2 where the token server has only that", async () => {
    tokens.mode = "oauth";
    try {
      const out = await tool(auths(login), ["resolve", `${registry}/me/private:1`]);
      expect(digestOf(out)).toBe(image.digest);
      expect(tokens.calls.at(-1)).toMatchObject({
        method: "POST",
        authorization: "",
        fields: { grant_type: "password", username: "me", password: "secret" },
      });
    } finally {
      tokens.mode = "both";
    }
  });

  test("tells in Docker's words what it may not read, and what is a wrong password", async () => {
    await expect(tool({}, ["resolve", `${registry}/me/private:1`])).rejects.toThrow(
      "unauthorized: authentication required",
    );
    await expect(
      tool({}, ["resolve", "-u", "me", "--password-stdin", `${registry}/me/private:1`], { input: "guess\n" }),
    ).rejects.toThrow("refused: unauthorized: wrong password");
  });

  test("asks a credential helper, by host", async () => {
    const bin = path.join(stage.dir, "bin");
    fs.mkdirSync(bin);
    const answer = JSON.stringify({ ServerURL: "", Username: "<token>", Secret: REFRESH_TOKEN });
    fs.writeFileSync(path.join(bin, "docker-credential-longshoretest"), `#!/bin/sh\necho '${answer}'\n`, {
      mode: 0o755,
    });
    const env = { PATH: `${bin}:${process.env.PATH}` };
    const config = { credHelpers: { [registry]: "longshoretest" } };
    expect(digestOf(await tool(config, ["resolve", `${registry}/me/private:1`], { env }))).toBe(image.digest);
    expect(tokens.calls[0]?.fields.grant_type).toBe("refresh_token");
  });

  test("a redirect to another host takes no proof along", async () => {
    const seen: string[] = [];
    const store = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        seen.push(request.headers.get("authorization") ?? "none");
        return new Response(fs.readFileSync(path.join(layout.dir, "blobs", image.digest.replace(":", "/"))), {
          headers: { "content-type": image.mediaType },
        });
      },
    });
    stage.defer(() => store.stop(true));
    const proxy = await FaultProxy.start(stage, registry);
    proxy.fault = ({ path }) =>
      path.includes("/manifests/")
        ? { status: 307, headers: { Location: `http://127.0.0.1:${store.port}/blob` } }
        : undefined;
    const config = { auths: { [proxy.host]: login } };
    expect(digestOf(await tool(config, ["resolve", `${proxy.host}/me/private:1`]))).toBe(image.digest);
    expect(seen).toEqual(["none"]);
  });

  test("honours Retry-After, and gives up on a registry that always wants a pause", async () => {
    const proxy = await FaultProxy.start(stage, registry);
    const config = { auths: { [proxy.host]: login } };
    proxy.fault = ({ path }, count) =>
      path.includes("/manifests/") && count < 3
        ? { status: 429, headers: { "Retry-After": "0" } }
        : undefined;
    expect(digestOf(await tool(config, ["resolve", `${proxy.host}/me/private:1`]))).toBe(image.digest);
    expect(proxy.seen("GET", "/manifests/").map(({ status }) => status)).toEqual([429, 429, 200]);
    proxy.forget();
    proxy.fault = ({ path }) =>
      path.includes("/manifests/") ? { status: 429, headers: { "Retry-After": "3600" } } : undefined;
    await expect(tool(config, ["resolve", `${proxy.host}/me/private:1`])).rejects.toThrow("toomanyrequests");
    expect(proxy.seen("GET", "/manifests/")).toHaveLength(1);
  });

  test("shows the rate limit that a registry tells", async () => {
    const store = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () =>
        new Response(fs.readFileSync(path.join(layout.dir, "blobs", image.digest.replace(":", "/"))), {
          headers: {
            "content-type": image.mediaType,
            "ratelimit-limit": "100;w=21600",
            "ratelimit-remaining": "76;w=21600",
            "docker-ratelimit-source": "192.0.2.1",
          },
        }),
    });
    stage.defer(() => store.stop(true));
    expect(JSON.parse(await tool({}, ["resolve", `127.0.0.1:${store.port}/x:1`])).rateLimit).toEqual({
      ...{ limit: 100, remaining: 76, windowS: 21600, source: "192.0.2.1" },
    });
  });

  test("TLS: refuses a certificate that nobody vouches for; takes certs.d's authority and shows its certificate", async () => {
    const authority = await makeCertificate(stage, "ca", "CN=authority");
    const server = await makeCertificate(stage, "server", "CN=r", { hosts: ["r.test"], authority });
    const me = await makeCertificate(stage, "me", "CN=me", { hosts: ["me"], authority });
    const secure = await startRegistry(stage, { tls: { ...server, clientCa: authority.cert } });
    // Loopback needs no verified certificates, so the registry gets a name, which only the proxy can find.
    const proxy = await ForwardProxy.start(stage, { "r.test:443": secure });
    const env = { HTTPS_PROXY: proxy.url.replace("//", "//user:pw@") };
    const certs = path.join(stage.dir, "certs.d");
    fs.mkdirSync(path.join(certs, "r.test"), { recursive: true });
    const resolve = () => tool({}, ["resolve", "--certs-dir", certs, "r.test/x:1"], { env });
    await expect(resolve()).rejects.toThrow("tls: x509: certificate signed by unknown authority");
    fs.copyFileSync(authority.cert, path.join(certs, "r.test/ca.crt"));
    // The authority is good now, but the registry wants to know who we are.
    await expect(resolve()).rejects.toThrow();
    fs.copyFileSync(me.cert, path.join(certs, "r.test/client.cert"));
    await expect(resolve()).rejects.toThrow("missing key client.key for client certificate client.cert");
    fs.copyFileSync(me.key, path.join(certs, "r.test/client.key"));
    await expect(resolve()).rejects.toThrow("manifest for r.test/x:1 not found");
    expect(proxy.seen[0]).toEqual({
      target: "CONNECT r.test:443",
      authorization: `Basic ${btoa("user:pw")}`,
    });
    await expect(tool({}, ["resolve", "r.test/x:1"], { env: { ...env, NO_PROXY: ".test" } })).rejects.toThrow(
      "no such host",
    );
  });

  test("hosts.toml: a mirror that is away or lacks the image is passed over, and never gets credentials", async () => {
    const mirror = await FaultProxy.start(stage, await startRegistry(stage));
    const certs = path.join(stage.dir, "hosts.d");
    fs.mkdirSync(path.join(certs, registry), { recursive: true });
    fs.writeFileSync(
      path.join(certs, registry, "hosts.toml"),
      `server = "http://${registry}"\n[host."http://127.0.0.1:1"]\n[host."http://${mirror.host}"]\ncapabilities = ["pull", "resolve"]\n`,
    );
    const out = await tool(auths(login), ["resolve", "--certs-dir", certs, `${registry}/me/private:1`]);
    expect(digestOf(out)).toBe(image.digest);
    const asked = mirror.seen("GET", "/v2/me/private/manifests/1");
    expect(asked.map(({ path }) => path)).toEqual([
      `/v2/me/private/manifests/1?ns=${encodeURIComponent(registry)}`,
    ]);
    expect(asked[0]?.headers).not.toHaveProperty("authorization");
  });
});
