import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type BlobDescriptor, Layout, noise } from "./images.ts";
import { run, Stage, startRegistry } from "./peers.ts";
import {
  binary,
  failureOf,
  finalStates,
  ingests,
  login,
  NAMESPACE,
  pullAll,
  request,
  type Service,
  skipReason,
  startService,
  storedLabels,
} from "./service.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

describe.skipIf(skipReason !== "")("registry-client with a real registry and a real containerd", () => {
  let stage: Stage;
  let service: Service;
  let registry: string;
  let secured: string;
  let amd64: BlobDescriptor;
  let index: BlobDescriptor;

  beforeAll(async () => {
    stage = new Stage();
    [service, registry, secured] = await Promise.all([
      startService(stage),
      startRegistry(stage),
      startRegistry(stage, { htpasswd: { user: "me", password: "secret" } }),
    ]);
    const layout = new Layout(stage, "layout");
    amd64 = await layout.image("amd64", {
      a: noise(2_000_000),
      b: Buffer.from("small"),
      c: noise(6_000_000, 3),
    });
    const arm64 = await layout.image("arm64", { a: Buffer.from("arm") });
    layout.tag("one", amd64);
    await layout.push("one", `${registry}/one:oci`);
    await layout.push("one", `${registry}/one:schema2`, "--format", "v2s2");
    await layout.push("one", `${secured}/private/one:1`, "--dest-creds", "me:secret");
    const type = "application/vnd.oci.image.index.v1+json";
    const manifests = [
      { ...arm64, platform: { os: "linux", architecture: "arm64", variant: "v8" } },
      { ...amd64, platform: { os: "linux", architecture: "amd64" } },
    ];
    index = layout.add(type, { schemaVersion: 2, mediaType: type, manifests });
    layout.tag("multi", index);
    await layout.push("multi", `${registry}/multi:1`, "--all");
  }, 60_000);
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  test("pulls an OCI image: events in order, blobs in the store, labels as containerd sets them", async () => {
    const lease = (await service.leases.create({ id: "first", labels: {} })).lease?.id ?? "";
    const events = await pullAll(service, request(`${registry}/one:oci`, { lease }));
    const [first] = events;
    const resolved = first?.event?.$case === "resolved" ? first.event.value : undefined;
    expect(resolved?.target).toEqual({
      mediaType: amd64.mediaType,
      digest: amd64.digest,
      size: BigInt(amd64.size),
      annotations: {},
    });
    expect(resolved?.manifest).toEqual(resolved?.target);
    expect(resolved?.layers).toHaveLength(3);
    expect(events.at(-1)?.event?.$case).toBe("done");
    const config = resolved?.config?.digest ?? "";
    const layers = resolved?.layers.map(({ digest }) => digest) ?? [];
    expect(finalStates(events)).toEqual(
      Object.fromEntries([config, ...layers].map((digest) => [digest, "COMPLETE"])),
    );

    const source = { "containerd.io/distribution.source.127.0.0.1": "one" };
    const stored = await storedLabels(service);
    for (const digest of [config, ...layers]) expect(stored[digest]).toEqual(source);
    expect(stored[amd64.digest]).toEqual({
      ...source,
      "containerd.io/gc.ref.content.config": config,
      "containerd.io/gc.ref.content.l.0": layers[0] ?? "",
      "containerd.io/gc.ref.content.l.1": layers[1] ?? "",
      "containerd.io/gc.ref.content.l.2": layers[2] ?? "",
    });
    const { resources } = await service.leases.listResources({ id: lease });
    const kept = resources.flatMap(({ id, type }) => (type === "content" ? [id] : []));
    expect(kept.toSorted()).toEqual([amd64.digest, config, ...layers].toSorted());
    expect(await ingests(service)).toEqual({});
  });

  test("shares what is there: a schema 2 image of the same blobs is only a manifest, under the new lease too", async () => {
    const lease = (await service.leases.create({ id: "second", labels: {} })).lease?.id ?? "";
    const events = await pullAll(service, request(`${registry}/one:schema2`, { lease }));
    const layers = Object.values(finalStates(events)).filter((state) => state === "EXISTS");
    expect(layers.length).toBeGreaterThanOrEqual(3);
    const { resources } = await service.leases.listResources({ id: lease });
    expect(resources.length).toBe(5);
  });

  test("takes the platform that is asked for from an index, and the host's by default", async () => {
    const host = await pullAll(service, request(`${registry}/multi:1`));
    const chosen = host[0]?.event?.$case === "resolved" ? host[0].event.value : undefined;
    expect([chosen?.target?.digest, chosen?.manifest?.digest]).toEqual([index.digest, amd64.digest]);
    const platform = { os: "linux", architecture: "arm64", variant: "v8", osVersion: "", osFeatures: [] };
    const arm = await pullAll(service, request(`${registry}/multi@${index.digest}`, { platform }));
    const other = arm[0]?.event?.$case === "resolved" ? arm[0].event.value : undefined;
    expect(other?.layers).toHaveLength(1);
    const labels = (await storedLabels(service))[index.digest];
    expect(labels?.["containerd.io/gc.ref.content.m.0"]).toBe(other?.manifest?.digest ?? "");
    expect(labels?.["containerd.io/gc.ref.content.m.1"]).toBe(amd64.digest);
    const none = request(`${registry}/multi:1`, {
      platform: { ...platform, architecture: "s390x", variant: "" },
    });
    expect(await failureOf(pullAll(service, none))).toEqual({
      code: "not_found",
      message: "no matching manifest for linux/s390x in the manifest list entries",
    });
  });

  test("resolves without storing, and lists platforms", async () => {
    const answer = await service.registry.resolve({
      reference: `${registry}/multi:1`,
      credentials: undefined,
      hosts: undefined,
    });
    expect(answer.target?.digest).toBe(index.digest);
    expect(answer.platforms.map(({ os, architecture }) => `${os}/${architecture}`)).toEqual([
      "linux/arm64",
      "linux/amd64",
    ]);
  });

  test("many pulls of one image at once fetch each blob once", async () => {
    const namespace = "shared";
    const pulls = Array.from({ length: 4 }, () =>
      pullAll(service, request(`${registry}/one:oci`, { namespace })),
    );
    const all = await Promise.all(pulls);
    for (const events of all) {
      expect(events.at(-1)?.event?.$case).toBe("done");
      expect(
        Object.values(finalStates(events)).every((state) => state === "COMPLETE" || state === "EXISTS"),
      ).toBe(true);
    }
  });

  test("tells what is missing in Docker's words", async () => {
    const unknown = (message: string) => ({ code: "not_found", message });
    expect(await failureOf(pullAll(service, request(`${registry}/one:nope`)))).toEqual(
      unknown(`manifest for ${registry}/one:nope not found: manifest unknown: manifest unknown`),
    );
    expect(await failureOf(pullAll(service, request(`${registry}/nope`)))).toEqual(
      unknown(`manifest for ${registry}/nope:latest not found: manifest unknown: manifest unknown`),
    );
    expect(await failureOf(pullAll(service, request("127.0.0.1:1/x:latest")))).toEqual({
      code: "unavailable",
      message: 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    });
    expect((await failureOf(pullAll(service, request("Bad/Name")))).code).toBe("invalid_argument");
    expect((await failureOf(pullAll(service, request("x", { namespace: "" })))).code).toBe(
      "invalid_argument",
    );
  });

  test("logs in with basic credentials, and says so when they lack or are wrong", async () => {
    const reference = `${secured}/private/one:1`;
    const anonymous = await failureOf(pullAll(service, request(reference)));
    expect(anonymous.code).toBe("unauthenticated");
    expect(anonymous.message).toEndWith("no basic auth credentials");
    const wrong = await failureOf(
      pullAll(service, request(reference, { credentials: login("me", "guess") })),
    );
    expect(wrong).toEqual({ code: "unauthenticated", message: "unauthorized: authentication required" });
    const right = await pullAll(service, request(reference, { credentials: login("me", "secret") }));
    expect(right.at(-1)?.event?.$case).toBe("done");
  });

  test("answers health checks", async () => {
    expect(await service.health.check({ service: "" })).toEqual({ status: 1 });
  });

  test("the command line resolves, prints manifests byte by byte, and pulls into a containerd", async () => {
    const resolved = JSON.parse(await run([binary, "resolve", `${registry}/multi:1`]));
    expect(resolved).toMatchObject({ digest: index.digest, platforms: ["linux/arm64", "linux/amd64"] });
    const manifest = await run([binary, "manifest", `${registry}/one:oci`]);
    expect(new Bun.CryptoHasher("sha256").update(manifest).digest("hex")).toBe(amd64.digest.slice(7));
    const command = [binary, "pull", "--containerd", service.containerd, "-n", "tool", `${registry}/multi:1`];
    expect(await run(command)).toBe(`${index.digest}\n`);
    const ctr = ["ctr", "-a", service.containerd, "-n", "tool", "images", "check"];
    expect(await run(ctr)).toMatch(/ complete \((\d+)\/\1\) /);
    const secret = [binary, "resolve", "-u", "me", "--password-stdin", `${secured}/private/one:1`];
    expect(JSON.parse(await run(secret, "secret\n"))).toMatchObject({ digest: amd64.digest });
  });

  test("the command line refuses by name", async () => {
    await expect(run([binary, "fly", "x"])).rejects.toThrow('registry-client: unknown command "fly"');
    await expect(run([binary, "resolve", "X"])).rejects.toThrow(
      "repository name (library/X) must be lowercase",
    );
    await expect(run([binary, "resolve", `${registry}/nope`])).rejects.toThrow(
      "exit 1: registry-client: manifest for",
    );
  });

  test(`keeps to the namespace ${NAMESPACE}`, async () => {
    const content = await run(["ctr", "-a", service.containerd, "-n", "elsewhere", "content", "ls", "-q"]);
    expect(content.trim()).toBe("");
  });
});
