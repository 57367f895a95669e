import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import type http from "node:http";
import path from "node:path";
import zlib from "node:zlib";
import { type TestEntry, tarOf } from "@longshore/archive/testing";
import { blobOf, type ImageServer, type LocalImage, serveImages } from "@longshore/suite";
import { type Engine, eventually, startEngine } from "@longshore/testkit";
import { anyReal, binDir, machineBusybox, ours } from "./world.ts";

setDefaultTimeout(120_000);

interface Line {
  status?: string;
  id?: string;
  error?: string;
}

/** Layers over a busybox; the bottom one is kept back by the registry until a test lets it go. */
function imageOf(name: string): LocalImage {
  const dir = (path: string, mode = 0o755) => ({ name: path, type: "5", mode });
  const layers: TestEntry[][] = [
    [
      { ...dir("data/", 0o700), uid: 5 },
      { name: "data/kept", content: name },
      { name: "data/gone", content: "" },
      dir("data/hidden/"),
      { name: "data/hidden/old", content: "" },
    ],
    // Deletions, of what comes later.
    [
      { ...dir("data/", 0o700), uid: 5 },
      { name: "data/.wh.gone", content: "" },
      dir("data/hidden/"),
      { name: "data/hidden/.wh..wh..opq", content: "" },
      { name: "data/hidden/new", content: "" },
    ],
    // Needs those below: directories without entries of their own, a link to another layer's file.
    [
      { name: "tmp/late", content: "" },
      { name: "data/linked", type: "1", linkName: "data/kept" },
    ],
    [{ name: "top", content: `${name}\n` }],
  ];
  return onBusybox(layers.map(tarOf));
}

function onBusybox(tars: Buffer[]): LocalImage {
  const [baseConfig, bottom] = machineBusybox().blobs;
  if (!baseConfig || !bottom) throw new Error("a busybox image without a layer");
  const base = JSON.parse(baseConfig.bytes.toString());
  const blobs = [bottom, ...tars.map((tar) => blobOf(zlib.gzipSync(tar)))];
  const diffIds = [...base.rootfs.diff_ids, ...tars.map((tar) => blobOf(tar).digest)];
  const config = blobOf(
    Buffer.from(JSON.stringify({ ...base, rootfs: { type: "layers", diff_ids: diffIds }, history: [] })),
  );
  const described = ({ digest, bytes }: typeof config, mediaType: string) => ({
    mediaType,
    digest,
    size: bytes.length,
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: described(config, "application/vnd.oci.image.config.v1+json"),
      layers: blobs.map((blob) => described(blob, "application/vnd.oci.image.layer.v1.tar+gzip")),
    }),
  );
  return { manifest: { ...blobOf(manifest), mediaType }, blobs: [config, ...blobs] };
}

const LOOK =
  "cat /top /data/kept; stat -c '%a %u' /data /tmp; ls /data /data/hidden; stat -c %h /data/linked";
const SEEN = (name: string) =>
  [
    name,
    `${name}700 5`,
    "1777 0",
    "/data:",
    "hidden",
    "kept",
    "linked",
    "",
    "/data/hidden:",
    "new",
    "2",
  ].join("\n");

let engine: Engine;
let server: ImageServer;
const images: Record<string, LocalImage> = {};
/** Requests for the bottom layer that wait. */
const waiting: (() => void)[] = [];
let hold = false;
/** A layer of which only the first half comes at first, and from where it was asked for. */
const halved = { digest: "", bytes: Buffer.alloc(0), from: [] as number[] };

beforeAll(async () => {
  const bottom = machineBusybox().blobs[1]?.digest ?? "";
  server = await serveImages({
    images,
    intercept(request, response) {
      if (halved.digest !== "" && request.method === "GET" && request.url?.endsWith(halved.digest))
        return answerHalved(request.headers.range, response);
      if (!hold || request.method !== "GET" || !request.url?.endsWith(bottom)) return false;
      waiting.push(() => response.destroy());
      return true;
    },
  });
  engine = await startEngine({ binDir, cli: anyReal ?? ours });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const docker = (...args: string[]) => engine.docker(ours)(...args);
const snapshots = () =>
  fs.readdirSync(
    path.join(engine.suite.paths.containerdRoot, "io.containerd.snapshotter.v1.overlayfs/snapshots"),
  ).length;

const blobs = () =>
  fs.readdirSync(
    path.join(engine.suite.paths.containerdRoot, "io.containerd.content.v1.content/blobs/sha256"),
  ).length;

/** Files of blobs that are not whole, by containerd's names for them, which end with the digest. */
function unfinished(): Map<string, string> {
  const dir = path.join(engine.suite.paths.containerdRoot, "io.containerd.content.v1.content/ingest");
  const dirs = fs.readdirSync(dir).map((name) => path.join(dir, name));
  const whole = dirs.filter((name) => fs.existsSync(path.join(name, "ref")));
  return new Map(
    whole.map((name) => [fs.readFileSync(path.join(name, "ref"), "utf8"), path.join(name, "data")]),
  );
}

/** How often each layer but the bottom one was asked for. */
function timesFetched(name: string): number[] {
  const layers = images[`${name}:1`]?.blobs.slice(2) ?? [];
  const asked = server.requests.filter((request) => request.startsWith("GET "));
  return layers.map(
    ({ digest }) => asked.filter((request) => request.includes(`/${name}/blobs/${digest}`)).length,
  );
}

function answerHalved(range: string | undefined, response: http.ServerResponse): boolean {
  const { bytes, from } = halved;
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
  from.push(start);
  response.writeHead(start > 0 ? 206 : 200, {
    "content-length": bytes.length - start,
    ...(start > 0 && { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  });
  if (hold) response.write(bytes.subarray(start, bytes.length / 2));
  else response.end(bytes.subarray(start));
  if (hold) waiting.push(() => response.destroy());
  return true;
}

function release(): void {
  hold = false;
  for (const end of waiting.splice(0)) end();
}

interface Pull {
  lines: Line[];
  done: Promise<void>;
  abort: AbortController;
}

/** Pull with the bottom layer held back, until the others are being unpacked. */
async function begin(name: string): Promise<Pull> {
  const image = imageOf(name);
  images[`${name}:1`] = image;
  hold = true;
  const pull = startPull(name);
  const ids = image.blobs.slice(2).map(({ digest }) => digest.slice("sha256:".length, "sha256:".length + 12));
  await eventually(
    () => ids.every((id) => pull.lines.some((line) => line.id === id && line.status === "Extracting")),
    { what: "all layers but the bottom one being unpacked", timeoutMs: 30_000 },
  );
  return pull;
}

function startPull(name: string): Pull {
  const abort = new AbortController();
  const lines: Line[] = [];
  const reference = encodeURIComponent(`${server.host}/${name}`);
  const done = (async () => {
    const answer = await fetch(`http://docker/images/create?fromImage=${reference}&tag=1`, {
      method: "POST",
      unix: engine.suite.paths.dockerSocket,
      signal: abort.signal,
    });
    let pending = "";
    for await (const text of (answer.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      pending += text;
      const whole = pending.split("\n");
      pending = whole.pop() ?? "";
      lines.push(...whole.filter((line) => line.trim() !== "").map((line) => JSON.parse(line) as Line));
    }
  })();
  done.catch(() => {}); // a test that breaks it off knows
  return { lines, done, abort };
}

test("layers are unpacked before those below them have arrived, and lie over each other as they should", async () => {
  const before = snapshots();
  const { lines, done } = await begin("apart");
  expect(waiting.length).toBeGreaterThan(0);
  expect(lines.some(({ status }) => status === "Pull complete")).toBe(false);
  release();
  await done;
  expect(lines.filter(({ error }) => error)).toEqual([]);
  expect(lines.filter(({ status }) => status === "Pull complete")).toHaveLength(5);
  expect(await docker("run", "--rm", `${server.host}/apart:1`, "sh", "-c", LOOK)).toBe(SEEN("apart"));
  // Five layers, and one between them and containers.
  await eventually(() => snapshots() === before + 6, { what: "no snapshot but the image's" });
  await docker("rmi", `${server.host}/apart:1`);
  await eventually(() => snapshots() === before, { what: "the image's snapshots gone" });
});

test("a pull that is given up takes what was unpacked away", async () => {
  const before = snapshots();
  const { done, abort } = await begin("given-up");
  expect(snapshots()).toBeGreaterThan(before);
  abort.abort();
  await done.catch(() => {});
  await eventually(() => snapshots() === before, { what: "the snapshots gone", timeoutMs: 30_000 });
  release();
  expect(await docker("images", "-q", `${server.host}/given-up`)).toBe("");
  // What had arrived is there for the next attempt.
  const image = `${server.host}/given-up:1`;
  await docker("pull", "-q", image);
  expect(await docker("run", "--rm", image, "sh", "-c", LOOK)).toBe(SEEN("given-up"));
  expect(Math.max(...timesFetched("given-up"))).toBeLessThanOrEqual(1);
  await docker("rmi", image);
  await eventually(() => snapshots() === before && blobs() === 0, { what: "nothing left of it" });
});

test("what a pull that was given up has left goes with the next prune", async () => {
  const { done, abort } = await begin("pruned");
  abort.abort();
  await done.catch(() => {});
  release();
  const dir = path.join(engine.suite.paths.containerdRoot, "io.containerd.content.v1.content/blobs/sha256");
  const left = fs.readdirSync(dir).map((name) => fs.statSync(path.join(dir, name)).size);
  expect(left.length).toBeGreaterThan(0);
  // It takes a moment until the pull has ended.
  let reclaimed = 0;
  await eventually(
    async () => {
      const answer = await fetch("http://docker/images/prune", {
        method: "POST",
        unix: engine.suite.paths.dockerSocket,
      });
      reclaimed += ((await answer.json()) as { SpaceReclaimed: number }).SpaceReclaimed;
      return blobs() === 0;
    },
    { what: "nothing left of it", timeoutMs: 30_000 },
  );
  expect(reclaimed).toBe(left.reduce((sum, size) => sum + size));
});

test.each(["dockerd", "containerd", "registry-client"] as const)(
  "kill -9 of %s while layers are being unpacked leaves nothing, and the next pull is whole",
  async (name) => {
    const before = snapshots();
    const repository = `killed-${name}`;
    const { done } = await begin(repository);
    await engine.suite.kill(name, "SIGKILL");
    release();
    await done.catch(() => {});
    await engine.suite.start(name);
    await eventually(() => snapshots() === before, { what: "the snapshots gone", timeoutMs: 60_000 });
    const image = `${server.host}/${repository}:1`;
    await docker("pull", "-q", image);
    expect(await docker("run", "--rm", image, "sh", "-c", LOOK)).toBe(SEEN(repository));
    // One may have been on its way.
    expect(Math.min(...timesFetched(repository))).toBe(1);
    await docker("rmi", image);
    await eventually(() => snapshots() === before && blobs() === 0, { what: "nothing left of it" });
  },
);

test.each(["nobody", "dockerd", "containerd", "registry-client"] as const)(
  "a pull that ended in the middle of a layer goes on there: killed is %s",
  async (name) => {
    const repository = `half-${name}`;
    const content = crypto.randomBytes(1 << 20).toString("hex");
    const image = onBusybox([tarOf([{ name: "half", content }])]);
    images[`${repository}:1`] = image;
    const layer = image.blobs[2] ?? { digest: "", bytes: Buffer.alloc(0) };
    Object.assign(halved, { digest: layer.digest, bytes: layer.bytes, from: [] });
    hold = true;
    const { done, abort } = startPull(repository);
    let arrived = 0;
    await eventually(
      () => {
        const [, file = ""] = [...unfinished()].find(([ref]) => ref.endsWith(layer.digest)) ?? [];
        arrived = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
        return arrived > 0;
      },
      { what: "a part of the layer", timeoutMs: 30_000 },
    );
    if (name === "nobody") abort.abort();
    else await engine.suite.kill(name, "SIGKILL");
    release();
    await done.catch(() => {});
    if (name !== "nobody") await engine.suite.start(name);
    await docker("pull", "-q", `${server.host}/${repository}:1`);
    expect(halved.from[0]).toBe(0);
    expect(halved.from.length).toBeGreaterThan(1);
    for (const start of halved.from.slice(1)) expect(start).toBeGreaterThanOrEqual(arrived);
    halved.digest = "";
    const seen = await docker("run", "--rm", `${server.host}/${repository}:1`, "sh", "-c", "md5sum < /half");
    expect(seen).toBe(`${crypto.createHash("md5").update(content).digest("hex")}  -`);
    await docker("rmi", `${server.host}/${repository}:1`);
    await eventually(() => blobs() === 0 && unfinished().size === 0, { what: "nothing left of it" });
  },
);
