import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { FaultProxy, ForwardProxy } from "./fault-proxy.ts";
import { type BlobDescriptor, Layout, noise } from "./images.ts";
import { run, Stage, startContainerd, startRegistry } from "./peers.ts";
import { binary, skipReason } from "./service.ts";
import { makeCertificate, REFRESH_TOKEN, startTokenServer } from "./token-server.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

describe.skipIf(skipReason !== "")("the registry-client command", () => {
  let stage: Stage;
  let registry: string;
  let other: string;
  let config: string;
  let layout: Layout;
  let amd64: BlobDescriptor;
  let index: BlobDescriptor;
  let signature: BlobDescriptor;

  beforeAll(async () => {
    stage = new Stage();
    config = path.join(stage.dir, "config");
    [registry, other] = await Promise.all([startRegistry(stage), startRegistry(stage)]);
    layout = new Layout(stage, "layout");
    amd64 = await layout.image("amd64", { a: noise(2_000_000), b: Buffer.from("small") });
    const arm64 = await layout.image("arm64", { a: Buffer.from("arm") });
    const type = "application/vnd.oci.image.index.v1+json";
    const manifests = [
      { ...arm64, platform: { os: "linux", architecture: "arm64", variant: "v8" } },
      { ...amd64, platform: { os: "linux", architecture: "amd64" } },
    ];
    index = layout.add(type, { schemaVersion: 2, mediaType: type, manifests });
    layout.tag("multi", index);
    for (const tag of ["1", "2", "latest"]) await layout.push("multi", `${registry}/multi:${tag}`, "--all");
    signature = layout.add(amd64.mediaType, {
      schemaVersion: 2,
      mediaType: amd64.mediaType,
      artifactType: "application/vnd.example.signature",
      config: layout.add("application/vnd.oci.empty.v1+json", {}),
      layers: [layout.add("text/plain", Buffer.from("signed"))],
      subject: index,
      annotations: { by: "me" },
    });
  }, 60_000);
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  const tool = (...args: string[]) => run([binary, ...args], "secret\n", { DOCKER_CONFIG: config });

  test("tells what it can do, and what a command takes", async () => {
    expect(await tool("--help")).toContain("\n  copy SOURCE DESTINATION   Copy an image");
    expect(await tool("push", "--help")).toStartWith("Usage: registry-client push [OPTIONS] IMAGE [REF]\n");
    await expect(tool("copy", "a")).rejects.toThrow("copy takes SOURCE DESTINATION, not 1 arguments");
    await expect(tool("list", "x", "--frob")).rejects.toThrow("Unknown option '--frob'");
  });

  test("copies all of an image, one platform of it, and within a registry by mounting", async () => {
    expect(await tool("copy", `${registry}/multi:1`, `${other}/copied:1`)).toBe(`${index.digest}\n`);
    const raw = await run(["skopeo", "inspect", "--raw", "--tls-verify=false", `docker://${other}/copied:1`]);
    expect(`sha256:${new Bun.CryptoHasher("sha256").update(raw).digest("hex")}`).toBe(index.digest);
    const one = await tool("copy", "--platform", "linux/amd64", `${registry}/multi:1`, `${other}/one:1`);
    expect(one).toBe(`${amd64.digest}\n`);
    const proxy = await FaultProxy.start(stage, registry);
    await tool("copy", `${proxy.host}/multi:1`, `${proxy.host}/within:1`);
    expect(proxy.passed.filter(({ method }) => method === "PATCH")).toEqual([]);
    expect(proxy.bytesDown("/blobs/")).toBe(0);
  });

  test("keeps referrers under a tag where the registry has no API for them, and copies them", async () => {
    layout.tag("signature", signature);
    await layout.push("signature", `${registry}/multi:signature`);
    // skopeo knows no referrers; our own copy of the signature makes the entry.
    await tool("copy", `${registry}/multi:signature`, `${registry}/multi:signed`);
    await tool("copy", `${registry}/multi:signature`, `${registry}/multi:signed`);
    const entry = {
      ...signature,
      artifactType: "application/vnd.example.signature",
      annotations: { by: "me" },
    };
    expect(JSON.parse(await tool("referrers", "--format", "json", `${registry}/multi:1`))).toEqual(entry);
    expect(await tool("referrers", "--artifact-type", "none", `${registry}/multi:1`)).toBe(
      "ARTIFACT TYPE   DIGEST   SIZE\n",
    );
    await tool("copy", "--referrers", `${registry}/multi:1`, `${other}/signed:1`);
    expect(JSON.parse(await tool("referrers", "--format", "json", `${other}/signed:1`))).toEqual(entry);
    const fallback = `sha256-${index.digest.slice(7)}`;
    expect((await tool("list", `${other}/signed`)).trim().split("\n").sort()).toEqual(["1", fallback]);
  });

  test("lists tags and repositories, and searches a catalog", async () => {
    expect((await tool("list", `${registry}/multi`)).split("\n").slice(0, 2)).toEqual(["1", "2"]);
    expect((await tool("list", `${other}/`)).split("\n")).toContain("copied");
    expect((await tool("search", `${other}/cop`)).split("\n")[1]).toStartWith(`${other}/copied`);
    expect(JSON.parse(await tool("search", "--format", "json", "--limit", "1", `${other}/ONE`))).toEqual({
      ...{ name: `${other}/one`, description: "", stars: 0, official: false, automated: false },
    });
    await expect(tool("search", "--limit", "101", `${other}/x`)).rejects.toThrow(
      "outside the range of [1, 100]",
    );
    const paged = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        const last = new URL(request.url).searchParams.get("last") ?? "a";
        const next = { a: "b", b: "c" }[last];
        const link = next && { link: `</v2/x/tags/list?last=${next}&n=1>; rel="next"` };
        return Response.json({ name: "x", tags: [last] }, { headers: { ...link } });
      },
    });
    stage.defer(() => paged.stop(true));
    expect(await tool("list", `127.0.0.1:${paged.port}/x`)).toBe("a\nb\nc\n");
    await expect(tool("list", `${other}/nothing`)).rejects.toThrow("repository name not known to registry");
  });

  test("searches Docker Hub by its index, through a proxy", async () => {
    const cert = await makeCertificate(stage, "index", "CN=index", { hosts: ["index.docker.io"] });
    const asked: string[] = [];
    const index = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { key: fs.readFileSync(cert.key, "utf8"), cert: fs.readFileSync(cert.cert, "utf8") },
      fetch(request) {
        const { pathname, search } = new URL(request.url);
        asked.push(pathname + search);
        const description = `${"long ".repeat(20)}\u001b[31m`;
        return Response.json({
          results: [{ name: "busybox", description, star_count: 7, is_official: true }],
        });
      },
    });
    stage.defer(() => index.stop(true));
    const proxy = await ForwardProxy.start(stage, { "index.docker.io:443": `127.0.0.1:${index.port}` });
    const certs = path.join(stage.dir, "index-certs");
    fs.mkdirSync(path.join(certs, "index.docker.io"), { recursive: true });
    fs.copyFileSync(cert.cert, path.join(certs, "index.docker.io/ca.crt"));
    const found = await run([binary, "search", "--certs-dir", certs, "--limit", "3", "library/busybox"], "", {
      DOCKER_CONFIG: config,
      HTTPS_PROXY: proxy.url,
    });
    expect(asked).toEqual(["/v1/search?q=busybox&n=3"]);
    expect(found).toBe(
      [
        `NAME      DESCRIPTION${" ".repeat(37)}STARS   OFFICIAL`,
        `busybox   ${"long ".repeat(20).slice(0, 44)}…   7       [OK]`,
        "",
      ].join("\n"),
    );
  });

  test("asks a registry that lists referrers", async () => {
    const bytes = fs.readFileSync(path.join(layout.dir, "blobs", index.digest.replace(":", "/")));
    const manifests = [
      { ...signature, artifactType: "application/vnd.example.signature" },
      { ...amd64, artifactType: "application/vnd.example.other" },
    ];
    const api = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch({ url }) {
        if (url.endsWith(`/v2/x/referrers/${index.digest}`)) {
          return Response.json({ schemaVersion: 2, mediaType: index.mediaType, manifests });
        }
        return url.includes("/manifests/1")
          ? new Response(bytes, { headers: { "content-type": index.mediaType } })
          : new Response("", { status: url.endsWith("/v2/") ? 200 : 404 });
      },
    });
    stage.defer(() => api.stop(true));
    const wanted = ["--format", "json", "--artifact-type", "application/vnd.example.signature"];
    expect(JSON.parse(await tool("referrers", ...wanted, `127.0.0.1:${api.port}/x:1`))).toEqual(manifests[0]);
  });

  test("inspects without fetching layers", async () => {
    const proxy = await FaultProxy.start(stage, registry);
    const shown = JSON.parse(await tool("inspect", "--platform", "linux/arm64", `${proxy.host}/multi:1`));
    expect(shown).toMatchObject({
      Digest: index.digest,
      Platforms: ["linux/arm64", "linux/amd64"],
      Config: { architecture: "arm64" },
    });
    expect(shown.Layers).toHaveLength(1);
    expect(shown.RepoTags).toContain("latest");
    expect(proxy.bytesDown("/blobs/")).toBeLessThan(1000);
    const manifest = await tool("manifest", "--platform", "linux/amd64", `${registry}/multi:1`);
    expect(`sha256:${new Bun.CryptoHasher("sha256").update(manifest).digest("hex")}`).toBe(amd64.digest);
  });

  test("deletes what is named, never a default", async () => {
    await tool("copy", "--platform", "linux/arm64", `${registry}/multi:1`, `${registry}/gone:latest`);
    await expect(tool("delete", `${registry}/gone`)).rejects.toThrow("delete wants a tag or a digest");
    await tool("delete", `${registry}/gone:latest`);
    await expect(tool("resolve", `${registry}/gone:latest`)).rejects.toThrow("manifest unknown");
  });

  test("pushes from a containerd what it has pulled there", async () => {
    const { address: containerd } = await startContainerd(stage);
    const options = ["--containerd", containerd, "-n", "tool"];
    await tool("pull", ...options, `${registry}/multi:2`);
    expect(await tool("push", ...options, `${registry}/multi:2`, `${other}/pushed:2`)).toBe(
      `${amd64.digest}\n`,
    );
    expect(await tool("manifest", `${other}/pushed:2`)).toBe(
      fs.readFileSync(path.join(layout.dir, "blobs", amd64.digest.replace(":", "/")), "utf8"),
    );
    await expect(tool("push", ...options, "nowhere")).rejects.toThrow(
      "containerd has no image docker.io/library/nowhere:latest",
    );
  });

  test("logs in and out: Basic keeps the password, a token server its refresh token", async () => {
    const secured = await startRegistry(stage, { htpasswd: { user: "me", password: "secret" } });
    const file = path.join(config, "config.json");
    const auths = () =>
      (JSON.parse(fs.readFileSync(file, "utf8")) as { auths: Record<string, unknown> }).auths;
    await expect(tool("login", "-u", "you", "--password-stdin", secured)).rejects.toThrow(
      "incorrect username or password",
    );
    expect(fs.existsSync(file)).toBe(false);
    expect(await tool("login", "-u", "me", "--password-stdin", `https://${secured}/v2/`)).toBe(
      "Login Succeeded\n",
    );
    expect(auths()).toEqual({ [secured]: { auth: btoa("me:secret") } });
    await tool("copy", `${registry}/multi:1`, `${secured}/mine:1`);
    expect(await tool("list", `${secured}/mine`)).toBe("1\n");
    expect(await tool("login", secured)).toBe("Login Succeeded\n");
    expect(await tool("logout", secured)).toBe(`Removing login credentials for ${secured}\n`);
    expect(await tool("logout", secured)).toBe(`Not logged in to ${secured}\n`);
    await expect(tool("list", `${secured}/mine`)).rejects.toThrow("no basic auth credentials");

    const tokens = await startTokenServer(stage, { me: "secret" });
    const token = await startRegistry(stage, { auth: tokens.config });
    await tool("login", "-u", "me", "--password-stdin", token);
    expect(auths()).toEqual({ [token]: { auth: btoa("me:"), identitytoken: REFRESH_TOKEN } });
    expect(tokens.calls[0]?.fields).toMatchObject({ offline_token: "true", account: "me" });
    await tool("copy", `${registry}/multi:1`, `${token}/me/mine:1`);
    expect(tokens.calls.at(-1)?.scopes).toEqual(["repository:me/mine:pull,push"]);
    await expect(tool("copy", `${registry}/multi:1`, `${token}/yours:1`)).rejects.toThrow(
      /unauthorized|denied/,
    );
  });
});
