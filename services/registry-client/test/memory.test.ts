import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { PushProgress_State } from "@longshore/api/longshore/registry/v1/registry";
import { noise, sha256 } from "./images.ts";
import { Stage, startContainerd, startOurContainerd, until } from "./peers.ts";
import { binary, binDir, NAMESPACE, pullAll, request, serviceOn, skipReason } from "./service.ts";

if (skipReason) console.warn(`skipped: ${skipReason}`);

const MB = 1_000_000;
const LAYERS = 3;
const LAYER_BYTES = 120 * MB;
const LIMIT_KB = 150_000;
const PIECE = noise(1 << 20, 3);

/** A registry of one image whose layers are made as they are asked for, and which takes any blob. */
function serveLargeImage(stage: Stage): string {
  const layers = Array.from({ length: LAYERS }, (_, index) => {
    const hasher = new Bun.CryptoHasher("sha256");
    for (const piece of pieces(index)) hasher.update(piece);
    return `sha256:${hasher.digest("hex")}`;
  });
  const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux" }));
  const describe = (mediaType: string, digest: string, size: number) => ({ mediaType, digest, size });
  const type = "application/vnd.oci.image.manifest.v1+json";
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: type,
    config: describe("application/vnd.oci.image.config.v1+json", sha256(config), config.length),
    layers: layers.map((digest) => describe("application/vnd.oci.image.layer.v1.tar", digest, LAYER_BYTES)),
  });
  const uploads = new Map<string, number>();
  const registry = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(incoming) {
      const { url, method } = incoming;
      if (url.endsWith("/v2/")) return new Response("");
      if (url.includes("/target/")) return take(incoming, uploads);
      if (url.includes("/manifests/")) return new Response(manifest, { headers: { "content-type": type } });
      if (url.includes(sha256(config))) return new Response(config);
      const index = layers.findIndex((digest) => url.includes(digest));
      if (method !== "GET" || index < 0) return new Response("", { status: 404 });
      const source = pieces(index);
      return new Response(
        new ReadableStream({
          pull(controller) {
            const { done, value } = source.next();
            if (done) controller.close();
            else controller.enqueue(value);
          },
        }),
      );
    },
  });
  stage.defer(() => registry.stop(true));
  return `127.0.0.1:${registry.port}`;
}

/** Different layers differ in their first byte. */
function* pieces(index: number): Generator<Uint8Array> {
  for (let at = 0; at < LAYER_BYTES; at += PIECE.length) {
    const piece = new Uint8Array(PIECE.subarray(0, Math.min(PIECE.length, LAYER_BYTES - at)));
    if (at === 0) piece[0] = index;
    yield piece;
  }
}

async function take(incoming: Request, uploads: Map<string, number>): Promise<Response> {
  const { method } = incoming;
  const { pathname } = new URL(incoming.url);
  if (method === "HEAD") return new Response("", { status: 404 });
  if (method === "POST") {
    const headers = { location: `${pathname}${crypto.randomUUID()}` };
    return new Response("", { status: 202, headers });
  }
  let length = uploads.get(pathname) ?? 0;
  for await (const part of incoming.body ?? []) length += part.length;
  uploads.set(pathname, length);
  if (method === "PUT") return new Response("", { status: 201 });
  const headers = { location: pathname, range: `0-${length - 1}` };
  return new Response("", { status: 202, headers });
}

const peakKb = (pid: number) =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

describe.skipIf(skipReason !== "")("registry-client's memory stays bounded whatever the image's size", () => {
  let stage: Stage;
  let registry: string;
  beforeAll(() => {
    stage = new Stage();
    registry = serveLargeImage(stage);
  });
  afterAll(() => stage[Symbol.asyncDispose](), 20_000);

  test.each([
    ["Debian's", startContainerd],
    ["our", (at: Stage) => startOurContainerd(at, binDir)],
  ] as const)(
    "when it pulls into %s containerd and pushes out of it",
    async (_, start) => {
      await using own = new Stage();
      const service = await serviceOn(own, (await start(own)).address);
      const lease = "keeps-it";
      await service.leases.create({ id: lease, labels: {} });
      const events = await pullAll(service, request(`${registry}/x:1`, { lease }));
      expect(peakKb(service.process.pid)).toBeLessThan(LIMIT_KB);
      const resolved = events.find(({ event }) => event?.$case === "resolved")?.event;
      if (resolved?.$case !== "resolved") throw new Error("the pull was not resolved");
      let sent = 0;
      const pushes = service.registry.push({
        reference: `${registry}/target/x:1`,
        credentials: undefined,
        namespace: NAMESPACE,
        target: resolved.value.target,
        platform: undefined,
        nondistributable: false,
        hosts: undefined,
      });
      for await (const { event } of pushes) {
        if (event?.$case === "progress" && event.value.state === PushProgress_State.COMPLETE) sent += 1;
      }
      expect(sent).toBe(LAYERS + 1);
      expect(peakKb(service.process.pid)).toBeLessThan(LIMIT_KB);
    },
    60_000,
  );

  test("when it copies", async () => {
    const child = Bun.spawn([binary, "copy", `${registry}/x:1`, `${registry}/target:1`], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    let peak = 0;
    await until("the copy", () => {
      if (child.exitCode !== null) return true;
      peak = Math.max(peak, peakKb(child.pid) || 0);
      return false;
    });
    expect(child.exitCode).toBe(0);
    expect(peak).toBeLessThan(LIMIT_KB);
  }, 60_000);
});
