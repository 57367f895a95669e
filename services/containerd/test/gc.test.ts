import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { tarOf } from "@longshore/archive/testing";
import { digestOf } from "@longshore/digest";
import { channelTo, createClient } from "@longshore/rpc";
import { eventually } from "@longshore/testkit";
import { Daemon } from "./daemon.ts";

setDefaultTimeout(60_000);

const snapshotter = "overlayfs";
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";

let daemon: Daemon;
let channel: ReturnType<typeof channelTo>;
const clientsOf = (lease?: string) => {
  const metadata: Record<string, string> = { "containerd-namespace": "gc" };
  if (lease !== undefined) metadata["containerd-lease"] = lease;
  return {
    content: createClient(channel, ContentDefinition, { metadata }),
    diff: createClient(channel, DiffDefinition, { metadata }),
    images: createClient(channel, ImagesDefinition, { metadata }),
    leases: createClient(channel, LeasesDefinition, { metadata }),
    snapshots: createClient(channel, SnapshotsDefinition, { metadata }),
  };
};
type Clients = ReturnType<typeof clientsOf>;

beforeAll(async () => {
  daemon = await Daemon.start("--config", "/dev/null");
  channel = channelTo(daemon.address);
});
afterAll(async () => {
  channel.close();
  await daemon[Symbol.asyncDispose]();
});

/** Write a blob in pieces, so that collections come in between. */
async function ingest(
  { content }: Clients,
  bytes: Buffer,
  { labels = {}, ref = crypto.randomUUID() }: { labels?: Record<string, string>; ref?: string } = {},
): Promise<string> {
  const expected = digestOf(bytes);
  const requests = async function* () {
    const step = Math.ceil(bytes.length / 4);
    for (let at = 0; at < bytes.length; at += step) {
      const data = bytes.subarray(at, at + step);
      const last = at + step >= bytes.length;
      const action = last ? WriteAction.COMMIT : WriteAction.WRITE;
      yield { action, ref, total: 0n, expected: "", offset: BigInt(at), data, labels: last ? labels : {} };
      await Bun.sleep(2);
    }
  };
  for await (const { action, digest } of content.write(requests())) {
    if (action === WriteAction.COMMIT) expect(digest).toBe(expected);
  }
  return expected;
}

/** As a client pulls: under a lease until the image holds it all. */
async function pull(name: string): Promise<{ manifest: string; chain: string }> {
  const { lease } = await clientsOf().leases.create({ id: "", labels: {} });
  const clients = clientsOf(lease?.id ?? "");
  const tar = tarOf([{ name: "file", content: name.repeat(100) }]);
  const layer = await ingest(clients, zlib.gzipSync(tar));
  const { mounts } = await clients.snapshots.prepare({
    snapshotter,
    key: `x-${name}`,
    parent: "",
    labels: {},
  });
  const diff = { mediaType: LAYER, digest: layer, size: 1n, annotations: {} };
  await clients.diff.apply({ diff, mounts, payloads: {}, syncFs: false });
  const chain = digestOf(tar);
  await clients.snapshots.commit({ snapshotter, name: chain, key: `x-${name}`, labels: {}, parent: "" });
  const labels = {
    "containerd.io/gc.ref.content.l.0": layer,
    "containerd.io/gc.ref.snapshot.overlayfs": chain,
  };
  const manifest = await ingest(clients, Buffer.from(`manifest of ${name}`), { labels });
  const target = { mediaType: "application/x", digest: manifest, size: 1n, annotations: {} };
  const times = { createdAt: undefined, updatedAt: undefined };
  await clients.images.create({ image: { name, labels: {}, target, ...times }, sourceDateEpoch: undefined });
  await clients.leases.delete({ id: lease?.id ?? "", sync: false });
  return { manifest, chain };
}

async function readAll({ content }: Clients, digest: string): Promise<Buffer> {
  const parts = await Array.fromAsync(content.read({ digest, offset: 0n, size: 0n }));
  return Buffer.concat(parts.map(({ data }) => data));
}

describe("garbage collection", () => {
  test("leaves alone whatever is being pulled, while it goes on all the time", async () => {
    const clients = clientsOf();
    let collections = 0;
    let over = false;
    const collecting = (async () => {
      while (!over) {
        await clients.leases.create({ id: "tick", labels: {} });
        await clients.leases.delete({ id: "tick", sync: true });
        collections++;
      }
    })();
    const names = Array.from({ length: 24 }, (_, index) => `image-${index}`);
    const pulled = await Promise.all(
      [0, 1, 2, 3].map(async (worker) => {
        const found: Array<[string, Awaited<ReturnType<typeof pull>>]> = [];
        for (const name of names.filter((_, index) => index % 4 === worker))
          found.push([name, await pull(name)]);
        return found;
      }),
    );
    over = true;
    await collecting;
    expect(collections).toBeGreaterThan(20);
    for (const [name, { manifest, chain }] of pulled.flat()) {
      expect((await readAll(clients, manifest)).toString()).toBe(`manifest of ${name}`);
      const { info } = await clients.content.info({ digest: manifest });
      await readAll(clients, info?.labels["containerd.io/gc.ref.content.l.0"] ?? "");
      expect((await clients.snapshots.stat({ snapshotter, key: chain })).info?.name).toBe(chain);
    }
    for (const name of names) await clients.images.delete({ name, sync: name === names.at(-1) });
    expect(await Array.fromAsync(clients.content.list({ filters: [] }))).toEqual([]);
    expect(fs.globSync(path.join(daemon.root, "io.containerd.content.v1.content/blobs/*/*"))).toEqual([]);
    await eventually(
      () =>
        fs.readdirSync(path.join(daemon.root, "io.containerd.snapshotter.v1.overlayfs/snapshots")).length ===
        0,
      { what: "all snapshots' files gone" },
    );
  });

  test("leaves alone an ingest that has stalled, and a blob that is being read or unpacked", async () => {
    const clients = clientsOf();
    const collect = async () => {
      await clients.leases.create({ id: "now", labels: {} });
      await clients.leases.delete({ id: "now", sync: true });
    };
    const half = {
      total: 0n,
      expected: "",
      labels: {},
      action: WriteAction.WRITE,
      ref: "stalled",
      offset: 0n,
    };
    const stalled = async function* () {
      yield { ...half, data: Buffer.from("first half, ") };
    };
    await Array.fromAsync(clients.content.write(stalled()));
    const files = Array.from({ length: 3000 }, (_, index) => ({ name: `d/${index}`, content: "x" }));
    const big = zlib.gzipSync(tarOf(files));
    // Random bytes: they take more than the buffers between us, so that the reading is not over when it seems to be.
    const random = crypto.randomBytes(32 << 20);
    await clients.leases.create({ id: "first", labels: {} });
    const [layer, long] = [await ingest(clientsOf("first"), big), await ingest(clientsOf("first"), random)];
    const { mounts } = await clients.snapshots.prepare({
      snapshotter,
      key: "unpacking",
      parent: "",
      labels: {},
    });
    const diff = { mediaType: LAYER, digest: layer, size: 1n, annotations: {} };
    const unpacking = clients.diff.apply({ diff, mounts, payloads: {}, syncFs: false });
    const reading = clients.content.read({ digest: long, offset: 0n, size: 0n })[Symbol.asyncIterator]();
    const first = (await reading.next()).value;
    await clients.leases.delete({ id: "first", sync: true });
    await collect();
    expect((await unpacking).applied?.digest).toBe(digestOf(tarOf(files)));
    const parts = [first?.data ?? Buffer.alloc(0)];
    for (let next = await reading.next(); !next.done; next = await reading.next())
      parts.push(next.value.data);
    expect(digestOf(Buffer.concat(parts))).toBe(digestOf(random));
    expect((await clients.content.status({ ref: "stalled" })).status?.offset).toBe(12n);
    await collect();
    expect(await Array.fromAsync(clients.content.list({ filters: [] }))).toEqual([]);
    await clients.content.abort({ ref: "stalled" });
    await clients.snapshots.remove({ snapshotter, key: "unpacking" });
  });

  test("comes by itself after a deletion, as the configuration says", async () => {
    const clients = clientsOf();
    await clients.leases.create({ id: "holds", labels: {} });
    const digest = await ingest(clientsOf("holds"), Buffer.from("held"));
    await clients.leases.delete({ id: "holds", sync: false });
    await eventually(
      async () =>
        (await Array.fromAsync(clients.content.list({ filters: [`digest==${digest}`] }))).length === 0,
      {
        what: "collected without being asked",
      },
    );
    await daemon.signal("SIGTERM");
    const config = path.join(daemon.dir.path, "gc.toml");
    fs.writeFileSync(
      config,
      'version = 2\n[plugins."io.containerd.gc.v1.scheduler"]\npause_threshold = 0.0\ndeletion_threshold = 2\nstartup_delay = "0s"\n',
    );
    await daemon.start("--config", config);
    await clients.leases.create({ id: "a", labels: {} });
    await clients.leases.create({ id: "b", labels: {} });
    const kept = await ingest(clientsOf("a"), Buffer.from("kept"));
    const there = async () =>
      (await Array.fromAsync(clients.content.list({ filters: [`digest==${kept}`] }))).length;
    await clients.leases.delete({ id: "a", sync: false });
    // The second deletion doesn't wait for the pause of a second.
    const began = performance.now();
    await clients.leases.delete({ id: "b", sync: false });
    await eventually(async () => (await there()) === 0, { what: "collected at the second deletion" });
    expect(performance.now() - began).toBeLessThan(900);
  });
});
