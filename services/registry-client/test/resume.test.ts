import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { FaultProxy } from "./fault-proxy.ts";
import { type BlobDescriptor, Layout, noise, sha256 } from "./images.ts";
import {
  type Containerd,
  Stage,
  startContainerd,
  startOurContainerd,
  startRegistry,
  until,
} from "./peers.ts";
import {
  binDir,
  failureOf,
  finalStates,
  ingests,
  pullAll,
  request,
  type Service,
  serviceOn,
  skipReason,
} from "./service.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

const LAYER_BYTES = 24_000_000;
const MB = 1_000_000;

describe.skipIf(skipReason !== "")("registry-client killed while it pulls", () => {
  let stage: Stage;
  let containerd: Containerd;
  let proxy: FaultProxy;
  let layout: Layout;

  beforeAll(async () => {
    stage = new Stage();
    containerd = await startContainerd(stage);
    proxy = await FaultProxy.start(stage, await startRegistry(stage));
    layout = new Layout(stage, "layout");
  }, 30_000);
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  /** An image of one new layer, in the registry. */
  async function pushed(name: string, seed: number, bytes = LAYER_BYTES): Promise<BlobDescriptor> {
    const image = await layout.image("amd64", { [name]: noise(bytes, seed) });
    layout.tag(name, image);
    await layout.push(name, `${proxy.host}/${name}:1`);
    const manifest = JSON.parse(
      fs.readFileSync(path.join(layout.dir, "blobs", image.digest.replace(":", "/")), "utf8"),
    );
    proxy.forget();
    return manifest.layers[0];
  }

  async function untilFetched(service: Service, layer: BlobDescriptor, part: number): Promise<void> {
    const ref = `layer-${layer.digest}`;
    await until("a part of the layer", async () => ((await ingests(service))[ref] ?? 0) > layer.size * part);
  }

  const kinds = { "Debian's": startContainerd, our: (at: Stage) => startOurContainerd(at, binDir) };
  const cases = Object.entries(kinds).flatMap(([whose, start]) =>
    (["registry-client", "containerd"] as const).map((victim) => ({ whose, start, victim })),
  );
  for (const [index, { whose, start, victim }] of cases.entries()) {
    test(`goes on where it was after kill -9 of ${victim}, with ${whose} containerd`, async () => {
      await using own = new Stage();
      let containerd = await start(own);
      const name = `victim${index}`;
      const layer = await pushed(name, index + 20);
      proxy.fault = ({ path }) => (path.includes(layer.digest) ? { pace: 12 * MB } : undefined);
      const service = await serviceOn(own, containerd.address);
      // As dockerd does: without it a containerd that starts again may collect what is there.
      const lease = (await service.leases.create({ id: "pull", labels: {} })).lease?.id ?? "";
      const pull = request(`${proxy.host}/${name}:1`, { lease });
      const broken = pullAll(service, pull).then(
        () => undefined,
        (error: unknown) => error,
      );
      await untilFetched(service, layer, 0.6);
      if (victim === "containerd") {
        containerd.process.kill("SIGKILL");
        await containerd.process.exited;
        expect(await broken).toBeInstanceOf(Error);
        containerd = await start(own);
      }
      service.process.kill("SIGKILL");
      await service.process.exited;
      expect(await broken).toBeInstanceOf(Error);

      const again = await serviceOn(own, containerd.address);
      const held = (await ingests(again))[`layer-${layer.digest}`] ?? 0;
      expect(held).toBeGreaterThan(layer.size * 0.6);
      proxy.forget();
      const events = await pullAll(again, pull);
      expect(finalStates(events)[layer.digest]).toBe("COMPLETE");
      expect(proxy.bytesDown(layer.digest)).toBe(layer.size - held);
    }, 60_000);
  }

  test("a corrupted byte is data loss, leaves nothing, and the next pull fetches all of it again", async () => {
    const layer = await pushed("corrupt", 88);
    proxy.fault = ({ path }) => (path.includes(layer.digest) ? { corruptAt: 5 * MB } : undefined);
    const service = await serviceOn(stage, containerd.address);
    const pull = request(`${proxy.host}/corrupt:1`);
    const { code, message } = await failureOf(pullAll(service, pull));
    expect([code, message]).toEqual(["data_loss", expect.stringContaining(layer.digest)]);
    expect(await ingests(service)).not.toHaveProperty(`layer-${layer.digest}`);
    proxy.forget();
    expect(finalStates(await pullAll(service, pull))[layer.digest]).toBe("COMPLETE");
    expect(proxy.bytesDown(layer.digest)).toBe(layer.size);
  }, 60_000);

  test("fetches ranges at once over slow connections, and the layer is whole", async () => {
    const layer = await pushed("ranges", 77, 40_000_000);
    proxy.fault = ({ path }) => (path.includes(layer.digest) ? { pace: 8 * MB } : undefined);
    const service = await serviceOn(stage, containerd.address);
    const events = await pullAll(service, request(`${proxy.host}/ranges:1`));
    expect(finalStates(events)[layer.digest]).toBe("COMPLETE");
    const ranges = proxy.seen("GET", layer.digest).map(({ headers }) => headers.range);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.length).toBeGreaterThan(4);
    expect(ranges.slice(1).every((range) => /^bytes=\d+-\d+$/.test(range ?? ""))).toBe(true);
  }, 60_000);

  test("a foreign layer comes from where its manifest says when the registry lacks it, and nobody is told who we are", async () => {
    const foreign = noise(100_000, 9);
    const seen: (string | null)[] = [];
    const store = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        seen.push(request.headers.get("authorization"));
        return new Response(foreign);
      },
    });
    stage.defer(() => store.stop(true));
    const config = layout.add("application/vnd.oci.image.config.v1+json", {
      architecture: "amd64",
      os: "linux",
    });
    const manifest = {
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config,
      layers: [
        {
          mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar",
          digest: sha256(foreign),
          size: foreign.length,
          urls: ["ftp://x", `http://127.0.0.1:${store.port}/layer`],
        },
      ],
    };
    const answer = (body: Uint8Array | string, type: string) =>
      new Response(body, { headers: { "content-type": type } });
    const registry = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch({ url }) {
        if (url.includes("/manifests/")) return answer(JSON.stringify(manifest), manifest.mediaType);
        if (url.includes(config.digest))
          return answer(
            fs.readFileSync(path.join(layout.dir, "blobs", config.digest.replace(":", "/"))),
            "x/y",
          );
        return url.endsWith("/v2/") ? new Response("") : new Response("", { status: 404 });
      },
    });
    stage.defer(() => registry.stop(true));
    const service = await serviceOn(stage, containerd.address);
    const credentials = { username: "me", password: "secret", identityToken: "", registryToken: "" };
    const events = await pullAll(service, request(`127.0.0.1:${registry.port}/x:1`, { credentials }));
    expect(finalStates(events)[sha256(foreign)]).toBe("COMPLETE");
    expect(seen).toEqual([null]);
  });
});
