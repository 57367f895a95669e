import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  type PushEvent,
  PushProgress_State,
  type PushRequest,
} from "@longshore/api/longshore/registry/v1/registry";
import { FaultProxy } from "./fault-proxy.ts";
import { type BlobDescriptor, Layout, noise } from "./images.ts";
import { run, Stage, startRegistry } from "./peers.ts";
import { ResumingRegistry } from "./resuming-registry.ts";
import {
  failureOf,
  login,
  NAMESPACE,
  pullAll,
  request,
  type Service,
  skipReason,
  startService,
} from "./service.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

const BIG_BYTES = 24_000_000;

describe.skipIf(skipReason !== "")("registry-client pushes", () => {
  let stage: Stage;
  let service: Service;
  let origin: string;
  let layout: Layout;
  let image: BlobDescriptor;
  let big: BlobDescriptor;
  let index: BlobDescriptor;

  beforeAll(async () => {
    stage = new Stage();
    [service, origin] = await Promise.all([startService(stage), startRegistry(stage)]);
    layout = new Layout(stage, "layout");
    image = await layout.image("amd64", { a: noise(3_000_000), b: Buffer.from("small") });
    big = await layout.image("amd64", { big: noise(BIG_BYTES, 5) });
    const arm = await layout.image("arm64", { a: Buffer.from("arm") });
    const type = "application/vnd.oci.image.index.v1+json";
    const manifests = [
      { ...arm, platform: { os: "linux", architecture: "arm64" } },
      { ...image, platform: { os: "linux", architecture: "amd64" } },
    ];
    index = layout.add(type, { schemaVersion: 2, mediaType: type, manifests });
    for (const [tag, target] of [
      ["image", image],
      ["big", big],
      ["index", index],
    ] as const) {
      layout.tag(tag, target);
      await layout.push(tag, `${origin}/${tag}:1`, "--all");
    }
    await Promise.all(["image", "big"].map((name) => pullAll(service, request(`${origin}/${name}:1`))));
  }, 60_000);
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  const target = ({ mediaType, digest, size }: BlobDescriptor) => ({
    ...{ mediaType, digest },
    size: BigInt(size),
    annotations: {},
  });
  async function push(reference: string, descriptor: BlobDescriptor, more: Partial<PushRequest> = {}) {
    const events: PushEvent[] = [];
    const wanted = {
      ...{
        reference,
        credentials: undefined,
        namespace: NAMESPACE,
        platform: undefined,
        nondistributable: false,
        hosts: undefined,
      },
      ...{ target: target(descriptor), ...more },
    };
    for await (const event of service.registry.push(wanted, { timeoutMs: 60_000 })) events.push(event);
    return events;
  }
  const stateNames = Object.fromEntries(
    Object.entries(PushProgress_State).map(([name, value]) => [value, name]),
  );
  /** All states that each blob went through, in order of the plan. */
  function states(events: PushEvent[]): string[][] {
    const [first] = events;
    const plan = first?.event?.$case === "plan" ? first.event.value.blobs : [];
    return plan.map(({ digest }) => [
      ...new Set(
        events.flatMap(({ event }) =>
          event?.$case === "progress" && event.value.digest === digest
            ? [stateNames[event.value.state] ?? ""]
            : [],
        ),
      ),
    ]);
  }
  const digestAt = async (reference: string) =>
    (
      JSON.parse(await run(["skopeo", "inspect", "--tls-verify=false", `docker://${reference}`])) as {
        Digest: string;
      }
    ).Digest;

  test("sends an image, finds it there the next time, and mounts it into another repository", async () => {
    const registry = await startRegistry(stage);
    const first = await push(`${registry}/a:1`, image);
    expect(states(first)).toEqual([
      ["PREPARING", "WAITING", "UPLOADING", "COMPLETE"],
      ["PREPARING", "WAITING", "UPLOADING", "COMPLETE"],
      ["PREPARING", "WAITING", "UPLOADING", "COMPLETE"],
    ]);
    expect(first.at(-1)?.event).toMatchObject({ $case: "done", value: { target: { digest: image.digest } } });
    expect(await digestAt(`${registry}/a:1`)).toBe(image.digest);
    expect(states(await push(`${registry}/a:2`, image)).map((all) => all.at(-1))).toEqual([
      "EXISTS",
      "EXISTS",
      "EXISTS",
    ]);
    expect(await digestAt(`${registry}/a:2`)).toBe(image.digest);
    // The image was pulled from `image` of that host: its label says where a registry may have it.
    const mounted = await push(`${origin}/other:1`, image);
    expect(states(mounted).map((all) => all.at(-1))).toEqual(["MOUNTED", "MOUNTED", "MOUNTED"]);
    expect(
      mounted.flatMap(({ event }) => (event?.$case === "progress" && event.value.mountedFrom) || []),
    ).toEqual([...["image", "image", "image"]]);
    expect(await digestAt(`${origin}/other:1`)).toBe(image.digest);
  });

  test("of an index that is here in part pushes the host's image, of a whole one everything", async () => {
    await pullAll(service, request(`${origin}/index:1`));
    const registry = await startRegistry(stage);
    const part = await push(`${registry}/part:1`, index);
    expect(part[0]?.event).toMatchObject({ $case: "plan", value: { target: { digest: image.digest } } });
    expect(await digestAt(`${registry}/part:1`)).toBe(image.digest);
    const platform = { os: "linux", architecture: "arm64", variant: "", osVersion: "", osFeatures: [] };
    expect((await failureOf(push(`${registry}/part:1`, index, { platform }))).code).toBe("not_found");
    await pullAll(service, request(`${origin}/index:1`, { platform }));
    await push(`${registry}/whole:1`, index);
    const raw = await run([
      "skopeo",
      "inspect",
      "--raw",
      "--tls-verify=false",
      `docker://${registry}/whole:1`,
    ]);
    expect(`sha256:${new Bun.CryptoHasher("sha256").update(raw).digest("hex")}`).toBe(index.digest);
  });

  test("goes on where the registry says that it is after a broken connection", async () => {
    const registry = await ResumingRegistry.start(stage);
    registry.cut = { patch: 1, after: BIG_BYTES * 0.6 };
    await push(`${registry.host}/x:1`, big);
    const patches = registry.requests.filter((line) => line.startsWith("PATCH"));
    expect(patches).toEqual([
      expect.stringMatching(/^PATCH \/v2\/x\/blobs\/uploads\/\d$/),
      expect.stringMatching(/^PATCH \/v2\/x\/blobs\/uploads\/\d 14400000-/),
    ]);
    const [layer] = [...registry.blobs.values()].sort((a, b) => b.length - a.length);
    expect(registry.received).toBe(layer?.length ?? 0);
    expect([...registry.manifests.keys()]).toEqual(["1"]);
  });

  test("sends chunks to a registry that refuses a long request", async () => {
    const registry = await ResumingRegistry.start(stage);
    registry.maxBody = 17 << 20;
    await push(`${registry.host}/x:1`, big);
    expect(registry.requests.filter((line) => line.startsWith("PATCH")).slice(1)).toEqual([
      expect.stringMatching(new RegExp(` 0-${(16 << 20) - 1}$`)),
      expect.stringMatching(new RegExp(` ${16 << 20}-\\d+$`)),
    ]);
    expect(registry.manifests.size).toBe(1);
  });

  test("begins again at a registry that loses a broken upload, and after 5xx", async () => {
    const proxy = await FaultProxy.start(stage, await startRegistry(stage));
    proxy.fault = ({ method, path }) => {
      if (method === "PATCH" && proxy.seen("PATCH", "").length === 1) return { cutUp: 5_000_000 };
      if (method === "PUT" && path.includes("/blobs/") && proxy.seen("PUT", "/blobs/").length === 1)
        return { status: 503 };
      return undefined;
    };
    await push(`${proxy.host}/x:1`, big);
    expect(await digestAt(`${proxy.host}/x:1`)).toBe(big.digest);
    expect(proxy.seen("PATCH", "").length).toBeGreaterThan(1);
  });

  test("tells why it may not push", async () => {
    const secured = await startRegistry(stage, { htpasswd: { user: "me", password: "secret" } });
    expect(await failureOf(push(`${secured}/x:1`, image))).toMatchObject({
      code: "unauthenticated",
      message: expect.stringContaining("no basic auth credentials"),
    });
    expect(await failureOf(push(`${secured}/x:1`, image, { credentials: login("me", "guess") }))).toEqual({
      ...{ code: "unauthenticated", message: "unauthorized: authentication required" },
    });
    const done = await push(`${secured}/x:1`, image, { credentials: login("me", "secret") });
    expect(done.at(-1)?.event?.$case).toBe("done");
    const gone = { ...image, digest: `sha256:${"0".repeat(64)}` };
    expect(await failureOf(push(`${secured}/x:1`, gone))).toEqual({
      ...{ code: "not_found", message: `content digest ${gone.digest}: not found` },
    });
  });
});
