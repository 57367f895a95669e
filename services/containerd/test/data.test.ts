import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { IntrospectionDefinition } from "@longshore/api/containerd/services/introspection/v1/introspection";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { type TestEntry, tarOf } from "@longshore/archive/testing";
import { chainId, type Digest, digestOf } from "@longshore/digest";
import { channelTo, createClient } from "@longshore/rpc";
import { isAlive } from "@longshore/syscalls";
import { eventually } from "@longshore/testkit";
import { Daemon, processesWith } from "./daemon.ts";

setDefaultTimeout(60_000);

const GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
/** Not `expect().rejects`: that blocks the loop which the call needs. */
const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );
const code = (wanted: string) => expect.objectContaining({ code: wanted });

let daemon: Daemon;
let channel: ReturnType<typeof channelTo>;
const clientsFor = (metadata: Record<string, string>) => ({
  content: createClient(channel, ContentDefinition, { metadata }),
  images: createClient(channel, ImagesDefinition, { metadata }),
  snapshots: createClient(channel, SnapshotsDefinition, { metadata }),
  diff: createClient(channel, DiffDefinition, { metadata }),
  leases: createClient(channel, LeasesDefinition, { metadata }),
});
let api: ReturnType<typeof clientsFor>;

beforeAll(async () => {
  daemon = await Daemon.start();
  channel = channelTo(daemon.address);
  await clientsFor({ "containerd-namespace": daemon.namespace }).leases.create({ id: "all", labels: {} });
  // Under a lease, so that no garbage collection takes what a test has just put there.
  api = clientsFor({ "containerd-namespace": daemon.namespace, "containerd-lease": "all" });
});
afterAll(async () => {
  channel.close();
  await daemon[Symbol.asyncDispose]();
});

interface WriteRequest {
  action?: WriteAction;
  ref?: string;
  total?: number;
  expected?: string;
  offset?: number;
  data?: Buffer;
  labels?: Record<string, string>;
}
const writeRequest = (request: WriteRequest) => ({
  action: request.action ?? WriteAction.WRITE,
  ref: request.ref ?? "",
  total: BigInt(request.total ?? 0),
  expected: request.expected ?? "",
  offset: BigInt(request.offset ?? 0),
  data: request.data ?? Buffer.alloc(0),
  labels: request.labels ?? {},
});

async function* requests(...list: WriteRequest[]) {
  for (const request of list) yield writeRequest(request);
}
const writeAll = (...list: WriteRequest[]) => Array.fromAsync(api.content.write(requests(...list)));

async function putBlob(bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  await writeAll({ action: WriteAction.COMMIT, ref: `put-${digest}`, data: bytes, expected: digest });
  return digest;
}

describe("content", () => {
  const bytes = Buffer.from("0123456789".repeat(300_000));
  const digest = digestOf(bytes);

  test("an interrupted write is resumed where it stopped, and committed when its digest is right", async () => {
    // A client that goes away in the middle.
    const gone = new AbortController();
    const first = api.content.write(
      (async function* () {
        yield writeRequest({ ref: "r", total: bytes.length, data: bytes.subarray(0, 1_000_000) });
        await new Promise(() => {});
      })(),
      { signal: gone.signal },
    );
    const answers = first[Symbol.asyncIterator]();
    expect((await answers.next()).value).toMatchObject({ offset: 1_000_000n });
    expect(await failureOf(writeAll({ action: WriteAction.STAT, ref: "r" }))).toEqual(code("unavailable"));
    gone.abort();
    await answers.next().catch(() => {});

    const status = await eventually(
      async () => {
        const [answer] = await writeAll({ action: WriteAction.STAT, ref: "r" }).catch(() => []);
        return answer;
      },
      { what: "the ref unlocked" },
    );
    expect(status).toMatchObject({ offset: 1_000_000n, digest: digestOf(bytes.subarray(0, 1_000_000)) });
    expect((await api.content.status({ ref: "r" })).status).toMatchObject({
      offset: 1_000_000n,
      total: 3_000_000n,
    });
    const misplaced = writeAll({ ref: "r", offset: 5, data: Buffer.from("x") });
    expect(await failureOf(misplaced)).toEqual(code("out_of_range"));

    const commit = { action: WriteAction.COMMIT, offset: bytes.length, expected: digest, labels: { a: "1" } };
    const done = await writeAll({ ref: "r", offset: 1_000_000, data: bytes.subarray(1_000_000) }, commit);
    expect(done.at(-1)).toMatchObject({ digest, offset: 3_000_000n });
    expect((await api.content.info({ digest })).info).toMatchObject({
      digest,
      size: 3_000_000n,
      labels: { a: "1" },
    });
    expect((await api.content.listStatuses({ filters: [] })).statuses).toEqual([]);
  });

  test("is read in ranges", async () => {
    const read = async (offset: number, size: number) => {
      const parts = await Array.fromAsync(
        api.content.read({ digest, offset: BigInt(offset), size: BigInt(size) }),
      );
      return Buffer.concat(parts.map(({ data }) => data));
    };
    expect((await read(0, 0)).equals(bytes)).toBe(true);
    expect((await read(7, 5)).toString()).toBe("78901");
    expect((await read(bytes.length - 2, 100)).toString()).toBe("89");
    expect(await failureOf(read(bytes.length + 1, 1))).toEqual(code("out_of_range"));
  });

  test("a second write of the same blob is ALREADY_EXISTS", async () => {
    const again = { action: WriteAction.COMMIT, ref: "again", data: bytes };
    expect(await failureOf(writeAll({ ...again, expected: digest }))).toEqual(code("already_exists"));
    expect(await failureOf(writeAll({ ...again, ref: "unexpecting" }))).toEqual(code("already_exists"));
    await eventually(async () => (await api.content.listStatuses({ filters: [] })).statuses.length === 0, {
      what: "no ingest left",
    });
  });

  test("a wrong digest leaves neither a blob nor an ingest's bytes", async () => {
    const wrong = digestOf("something else");
    const write = writeAll({
      action: WriteAction.COMMIT,
      ref: "wrong",
      data: Buffer.from("x"),
      expected: wrong,
    });
    expect(await failureOf(write)).toEqual(code("failed_precondition"));
    expect(await failureOf(api.content.info({ digest: wrong }))).toEqual(code("not_found"));
    expect(fs.readdirSync(path.join(daemon.root, "io.containerd.content.v1.content/ingest"))).toEqual([]);
  });

  test("bad requests have the original's codes", async () => {
    expect(await failureOf(api.content.info({ digest: "rubbish" }))).toEqual(code("invalid_argument"));
    expect(await failureOf(api.content.info({ digest: digestOf("absent") }))).toEqual(code("not_found"));
    expect(await failureOf(api.content.delete({ digest: digestOf("absent") }))).toEqual(code("not_found"));
    expect(await failureOf(api.content.abort({ ref: "absent" }))).toEqual(code("not_found"));
    expect(await failureOf(writeAll({ data: Buffer.from("x") }))).toEqual(code("invalid_argument"));
    const nowhere = createClient(channel, ContentDefinition);
    expect(await failureOf(nowhere.info({ digest }))).toEqual(code("failed_precondition"));
  });
});

describe("snapshots and diffs", () => {
  const target = (name: string) => {
    const dir = path.join(daemon.dir.path, `target-${name}`);
    fs.mkdirSync(dir, { recursive: true });
    return dir;
  };
  const layers = [
    tarOf([
      { name: "etc/", type: "5", mode: 0o755 },
      { name: "etc/a", content: "lower a", uid: 0, gid: 0 },
      { name: "etc/b", content: "lower b", uid: 0, gid: 0 },
    ]),
    tarOf([
      { name: "etc/.wh.a", content: "" },
      { name: "etc/c", content: "upper c", uid: 0, gid: 0 },
    ]),
  ];

  async function unpack(tar: Buffer, parents: Digest[]): Promise<Digest> {
    const blob = zlib.gzipSync(tar);
    const digest = await putBlob(blob);
    const parent = parents.length > 0 ? chainId(parents) : "";
    const key = `extract-${digest}`;
    const { mounts } = await api.snapshots.prepare({ snapshotter: "overlayfs", key, parent, labels: {} });
    const diff = { mediaType: GZIP, digest, size: BigInt(blob.length), annotations: {} };
    const { applied } = await api.diff.apply({ diff, mounts, payloads: {}, syncFs: false });
    expect(applied).toMatchObject({
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      digest: digestOf(tar),
      size: BigInt(tar.length),
    });
    expect((await api.content.info({ digest })).info?.labels).toEqual({
      "containerd.io/uncompressed": digestOf(tar),
    });
    const name = chainId([...parents, digestOf(tar)]);
    await api.snapshots.commit({ snapshotter: "overlayfs", name, key, parent: "", labels: {} });
    return digestOf(tar);
  }

  test("layers unpacked one on the other are what overlayfs shows", async () => {
    const diffIds: Digest[] = [];
    for (const tar of layers) diffIds.push(await unpack(tar, diffIds));
    const { mounts } = await api.snapshots.prepare({
      snapshotter: "overlayfs",
      key: "rw",
      parent: chainId(diffIds),
      labels: {},
    });
    const [mount] = mounts;
    const target = path.join(daemon.dir.path, "merged");
    fs.mkdirSync(target);
    execFileSync("mount", ["-t", "overlay", "overlay", "-o", mount?.options.join(",") ?? "", target]);
    try {
      expect(fs.readdirSync(path.join(target, "etc"))).toEqual(["b", "c"]);
      expect(fs.readFileSync(path.join(target, "etc/c"), "utf8")).toBe("upper c");
    } finally {
      execFileSync("umount", [target]);
    }
    const stat = await api.snapshots.stat({ snapshotter: "overlayfs", key: "rw" });
    expect(stat.info).toMatchObject({ name: "rw", parent: chainId(diffIds), kind: 2 });
    const usage = await api.snapshots.usage({ snapshotter: "overlayfs", key: chainId(diffIds) });
    expect(usage.inodes).toBe(4n);
    await api.snapshots.remove({ snapshotter: "overlayfs", key: "rw" });
  });

  test("what can't be unpacked is refused", async () => {
    const { mounts } = await api.snapshots.prepare({
      snapshotter: "overlayfs",
      key: "bad",
      parent: "",
      labels: {},
    });
    const apply = async (mediaType: string, bytes: Buffer) => {
      const digest = await putBlob(bytes);
      const diff = { mediaType, digest, size: BigInt(bytes.length), annotations: {} };
      return api.diff.apply({ diff, mounts, payloads: {}, syncFs: false });
    };
    const tar = layers[0] as Buffer;
    expect(await failureOf(apply("application/json", tar))).toEqual(code("unimplemented"));
    expect(await failureOf(apply(GZIP, Buffer.from("no gzip at all")))).toEqual(code("invalid_argument"));
    expect(await failureOf(apply(GZIP, zlib.gzipSync(tar.subarray(0, 700))))).toEqual(
      code("invalid_argument"),
    );
    const absent = { mediaType: GZIP, digest: digestOf("absent"), size: 1n, annotations: {} };
    expect(await failureOf(api.diff.apply({ diff: absent, mounts, payloads: {}, syncFs: false }))).toEqual(
      code("not_found"),
    );
  });

  test.each([
    ["", "+gzip"],
    ["application/vnd.oci.image.layer.v1.tar", ""],
    ["application/vnd.oci.image.layer.v1.tar+zstd", "+zstd"],
  ])("a layer made of a snapshot's changes (%p) unpacks to the same", async (mediaType, suffix) => {
    const parent = chainId([digestOf(layers[0] as Buffer)]);
    const key = `changed${suffix}`;
    const { mounts: right } = await api.snapshots.prepare({
      snapshotter: "overlayfs",
      key,
      parent,
      labels: {},
    });
    const { mounts: left } = await api.snapshots.view({
      snapshotter: "overlayfs",
      key: `${key}-base`,
      parent,
      labels: {},
    });
    const upper =
      right[0]?.options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length) ?? "";
    execFileSync("mount", ["-t", "overlay", "overlay", "-o", right[0]?.options.join(",") ?? "", target(key)]);
    fs.rmSync(path.join(target(key), "etc/a"));
    fs.writeFileSync(path.join(target(key), "etc/new"), "new");
    execFileSync("umount", [target(key)]);
    const made = async (lower: typeof left) => {
      const request = {
        left: lower,
        right,
        mediaType,
        ref: "",
        labels: { l: "1" },
        sourceDateEpoch: undefined,
      };
      return (await api.diff.diff(request)).diff;
    };
    const diff = await made(left);
    expect(diff?.mediaType).toBe(`application/vnd.oci.image.layer.v1.tar${suffix}`);
    const { info } = await api.content.info({ digest: diff?.digest ?? "" });
    expect(info?.labels.l).toBe("1");
    expect(Object.keys(info?.labels ?? {}).includes("containerd.io/uncompressed")).toBe(suffix !== "");
    const again = await api.snapshots.prepare({
      snapshotter: "overlayfs",
      key: `${key}-again`,
      parent,
      labels: {},
    });
    await api.diff.apply({ diff, mounts: again.mounts, payloads: {}, syncFs: false });
    const copy = again.mounts[0]?.options
      .find((option) => option.startsWith("upperdir="))
      ?.slice("upperdir=".length);
    const entries = (cwd = "") =>
      execFileSync("find", [".", "-printf", "%p %y %m %U %G %s %l\\n"], { cwd }).toString();
    expect(entries(copy)).toBe(entries(upper));
    // Looking at every file of both trees, which a path spelled another way brings about, gives the same layer.
    const compared = await made(left.map((mount) => ({ ...mount, source: `${mount.source}/` })));
    expect(compared).toEqual(diff);
    expect(await failureOf(made([{ type: "none", source: "x", target: "", options: [] }]))).toBeDefined();
    expect((await api.content.listStatuses({ filters: [] })).statuses).toEqual([]);
  });

  test("a layer is unpacked before the one below it is there, and refused when it needs that one", async () => {
    const snapshotter = "overlayfs";
    const layer = async (...entries: TestEntry[]) => {
      const digest = await putBlob(zlib.gzipSync(tarOf(entries)));
      return { mediaType: GZIP, digest, size: 1n, annotations: {} };
    };
    const { plugins } = await createClient(channel, IntrospectionDefinition).plugins({
      filters: ["id==overlayfs"],
    });
    expect(plugins.map(({ capabilities }) => capabilities)).toEqual([["unpack-apart"]]);
    const apply = async (key: string, diff: Awaited<ReturnType<typeof layer>>) => {
      const { mounts } = await api.snapshots.prepare({ snapshotter, key, parent: "", labels: {} });
      const upper = { type: "overlay", source: "overlay", target: "" };
      const apart = mounts.map(({ source }) => ({ ...upper, options: [`upperdir=${source}`] }));
      return api.diff.apply({ diff, mounts: apart, payloads: {}, syncFs: false });
    };
    const commit = (key: string, name: string, parent: string) =>
      api.snapshots.commit({ snapshotter, name, key, parent, labels: {} });
    const dir = { name: "d/", type: "5" };
    const above = await layer(dir, { name: "d/.wh.gone", content: "" }, { name: "d/new", content: "x" });
    const needing = await layer({ name: "d/needs", content: "" });
    const below = await layer(dir, { name: "d/gone", content: "" }, { name: "d/kept", content: "" });
    await apply("apart-2", above);
    expect(await failureOf(apply("apart-3", needing))).toEqual(code("failed_precondition"));
    expect(await failureOf(commit("apart-2", "stack-2", "stack-1"))).toEqual(code("not_found"));
    await apply("apart-1", below);
    await commit("apart-1", "stack-1", "");
    await commit("apart-2", "stack-2", "stack-1");
    const { mounts: left } = await api.snapshots.view({
      snapshotter,
      key: "stack-view",
      parent: "stack-2",
      labels: {},
    });
    const mediaType = "application/vnd.oci.image.layer.v1.tar";
    const { diff } = await api.diff.diff({
      left: [],
      right: left,
      mediaType,
      ref: "",
      labels: {},
      sourceDateEpoch: undefined,
    });
    const parts = await Array.fromAsync(
      api.content.read({ digest: diff?.digest ?? "", offset: 0n, size: 0n }),
    );
    const list = execFileSync("tar", ["t"], { input: Buffer.concat(parts.map(({ data }) => data)) });
    expect(list.toString().trim().split("\n").sort()).toEqual(["d/", "d/kept", "d/new"]);
  });

  test("more layers than mount options fit in a page are mounted all the same", async () => {
    const snapshotter = "overlayfs";
    const count = 4096 / `${daemon.root}/io.containerd.snapshotter.v1.overlayfs/snapshots/100/fs`.length + 5;
    let parent = "";
    for (let i = 0; i < count; i++) {
      const { mounts } = await api.snapshots.prepare({ snapshotter, key: "next", parent, labels: {} });
      const upper = mounts[0]?.options
        .find((option) => option.startsWith("upperdir="))
        ?.slice("upperdir=".length);
      fs.writeFileSync(path.join(upper ?? mounts[0]?.source ?? "", `file${i}`), "");
      await api.snapshots.commit({ snapshotter, name: `deep${i}`, key: "next", parent: "", labels: {} });
      parent = `deep${i}`;
    }
    const { mounts: right } = await api.snapshots.view({ snapshotter, key: "deep", parent, labels: {} });
    expect(right[0]?.options.join(",").length).toBeGreaterThan(4096);
    const mediaType = "application/vnd.oci.image.layer.v1.tar";
    const request = { left: [], right, mediaType, ref: "", labels: {}, sourceDateEpoch: undefined };
    const { diff } = await api.diff.diff(request);
    const parts = await Array.fromAsync(
      api.content.read({ digest: diff?.digest ?? "", offset: 0n, size: 0n }),
    );
    const list = execFileSync("tar", ["t"], { input: Buffer.concat(parts.map(({ data }) => data)) });
    expect(list.toString().trim().split("\n")).toHaveLength(Math.ceil(count));
  });

  test("an unknown snapshotter is refused by name", async () => {
    const prepare = api.snapshots.prepare({ snapshotter: "stargz", key: "x", parent: "", labels: {} });
    expect(await failureOf(prepare)).toMatchObject({
      code: "invalid_argument",
      message: "snapshotter not loaded: stargz: invalid argument",
    });
  });
});

test("SIGKILL in the middle of a write and of an unpacking loses nothing that was answered", async () => {
  const bytes = Buffer.from("abcdefghij".repeat(200_000));
  const tar = tarOf(Array.from({ length: 6_000 }, (_, i) => ({ name: `d/${i}`, content: "x" })));
  const layer = await putBlob(zlib.gzipSync(tar));
  const half = api.content.write(
    (async function* () {
      yield writeRequest({ ref: "killed", total: bytes.length, data: bytes.subarray(0, 700_000) });
      await new Promise(() => {});
    })(),
  );
  await half[Symbol.asyncIterator]().next();
  const snapshotter = "overlayfs";
  const { mounts } = await api.snapshots.prepare({ snapshotter, key: "killed", parent: "", labels: {} });
  const dir = mounts[0]?.source ?? "";
  const diff = { mediaType: GZIP, digest: layer, size: 1n, annotations: {} };
  const unpacking = failureOf(api.diff.apply({ diff, mounts, payloads: {}, syncFs: false }));
  await eventually(() => fs.existsSync(path.join(dir, "d")), { what: "unpacking begun" });
  const workers = () =>
    processesWith("\0unpack-worker\0").filter((pid) => parentOf(pid) === daemon.pid || parentOf(pid) === 1);
  const before = workers();
  fs.mkdirSync(path.join(path.dirname(path.dirname(dir)), "4711/fs"), { recursive: true });
  await daemon.signal("SIGKILL");
  expect(await unpacking).toBeDefined();
  await eventually(() => !before.some((pid) => isAlive(pid)), { what: "workers gone" });
  await daemon.start();

  await eventually(() => !fs.existsSync(path.join(path.dirname(path.dirname(dir)), "4711")), {
    what: "a directory without a record removed",
  });
  expect((await api.content.info({ digest: layer })).info?.digest).toBe(layer);
  expect((await api.content.status({ ref: "killed" })).status).toMatchObject({ offset: 700_000n });
  const rest = { action: WriteAction.COMMIT, ref: "killed", offset: 700_000, data: bytes.subarray(700_000) };
  expect((await writeAll({ ...rest, expected: digestOf(bytes) })).at(-1)).toMatchObject({
    digest: digestOf(bytes),
  });
  await api.snapshots.remove({ snapshotter, key: "killed" });
  const again = await api.snapshots.prepare({ snapshotter, key: "killed", parent: "", labels: {} });
  const { applied } = await api.diff.apply({ diff, mounts: again.mounts, payloads: {}, syncFs: true });
  expect(applied?.digest).toBe(digestOf(tar));
  await eventually(() => !fs.existsSync(dir), { what: "the removed snapshot's files gone" });
});

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return 0;
  }
}
