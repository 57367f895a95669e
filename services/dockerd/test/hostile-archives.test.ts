import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import zlib from "node:zlib";
import { tarOf } from "@longshore/archive/testing";
import { blobOf } from "@longshore/suite";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);

const OCI = "application/vnd.oci.image";
const INDEX = `${OCI}.index.v1+json`;
const MANIFEST = `${OCI}.manifest.v1+json`;
/** Enough for each document to be read once, and far too little for 10^9 of them. */
const BOMB_DEADLINE_MS = 20_000;

/** Makes an archive in OCI's layout. */
class Archive {
  private readonly files = new Map<string, Buffer>();

  /** Add a blob. @returns its descriptor */
  blob(mediaType: string, content: Buffer | object) {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const { digest } = blobOf(bytes);
    this.files.set(`blobs/${digest.replace(":", "/")}`, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /**
   * Add an image.
   * @param more fields of its manifest
   * @param layers how often it has its one layer
   * @returns its descriptor
   */
  image(more: object = {}, { architecture = "amd64", layers = 1 } = {}) {
    const tar = tarOf([{ name: "a", content: "x" }]);
    const layer = this.blob(`${OCI}.layer.v1.tar+gzip`, zlib.gzipSync(tar));
    const rootfs = { type: "layers", diff_ids: Array(layers).fill(blobOf(tar).digest) };
    const config = this.blob(`${OCI}.config.v1+json`, { architecture, os: "linux", rootfs });
    const fields = { schemaVersion: 2, mediaType: MANIFEST, config, layers: Array(layers).fill(layer) };
    return this.blob(MANIFEST, { ...fields, ...more });
  }

  /** The whole archive, with one image of this name. */
  bytes(name: string, target: object): Buffer {
    const annotations = { "io.containerd.image.name": `docker.io/library/${name}:1` };
    const index = { schemaVersion: 2, mediaType: INDEX, manifests: [{ ...target, annotations }] };
    const documents = { "oci-layout": { imageLayoutVersion: "1.0.0" }, "index.json": index };
    return tarOf([
      ...Object.entries(documents).map(([file, json]) => ({ name: file, content: JSON.stringify(json) })),
      ...[...this.files].map(([file, bytes]) => ({ name: file, content: bytes.toString("latin1") })),
    ]);
  }
}

let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

const names = async () =>
  (await world.api.call("GET", "/images/json")).json.flatMap(
    (image: { RepoTags: string[] }) => image.RepoTags,
  );

/** Load an archive. @returns the last line of the engine's answer */
async function load(archive: Buffer): Promise<string> {
  const response = await fetch("http://docker/images/load", {
    unix: world.api.socketPath,
    method: "POST",
    body: archive,
  });
  return (await response.text()).trim().split("\n").at(-1) ?? "";
}

test("a manifest that is also an index is not loaded", async () => {
  const archive = new Archive();
  const hidden = archive.image({ annotations: { which: "hidden" } });
  const before = await names();
  const said = await load(archive.bytes("ambiguous", archive.image({ manifests: [hidden] })));
  expect(said).toContain("ambiguous manifest: it has both manifests and layers");
  expect(await names()).toEqual(before);
});

test("an index that also has layers is not loaded", async () => {
  const archive = new Archive();
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [archive.image()], layers: [] };
  expect(await load(archive.bytes("ambiguous", archive.blob(INDEX, index)))).toContain("ambiguous manifest");
  expect(await names()).not.toContain("ambiguous:1");
});

test("an index of more than 1000 entries is not loaded", async () => {
  const archive = new Archive();
  const manifests = Array.from({ length: 1001 }, () => archive.image());
  const said = await load(archive.bytes("many", archive.blob(INDEX, { schemaVersion: 2, manifests })));
  expect(said).toMatch(/manifests: .*1000/);
  expect(await names()).not.toContain("many:1");
});

test("an unusable image of another platform does not break the list of images", async () => {
  const archive = new Archive();
  const platform = { os: "linux", architecture: "arm64" };
  const manifests = [
    archive.image(),
    { ...archive.image({}, { architecture: "arm64", layers: 600 }), platform },
  ];
  const { api } = world;
  const target = archive.blob(INDEX, { schemaVersion: 2, manifests });
  expect(await load(archive.bytes("high", target))).toContain("Loaded image: high:1");
  const listed = await api.call("GET", "/v1.55/images/json?manifests=1");
  expect([listed.status, listed.json.length]).toEqual([200, (await names()).length]);
  expect((await api.call("DELETE", "/images/high:1")).status).toBe(200);
});

test(
  "an index that lists another a thousand times, on three levels, is read once",
  async () => {
    const archive = new Archive();
    let target: object = archive.image();
    for (const size of [1000, 1000, 1000])
      target = archive.blob(INDEX, { schemaVersion: 2, manifests: Array(size).fill(target) });
    const { api } = world;
    expect(await load(archive.bytes("bomb", target))).toContain("Loaded image: bomb:1");
    expect(await names()).toContain("bomb:1");
    for (const look of ["/v1.55/images/json?manifests=1", "/v1.55/images/bomb:1/json?manifests=1"])
      expect((await api.call("GET", look)).status).toBe(200);
    expect((await api.call("GET", "/images/bomb:1/get")).status).toBe(200);
    expect((await api.call("DELETE", "/images/bomb:1")).status).toBe(200);
    expect(await names()).not.toContain("bomb:1");
  },
  BOMB_DEADLINE_MS,
);
