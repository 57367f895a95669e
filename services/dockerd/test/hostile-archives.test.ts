import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import zlib from "node:zlib";
import { tarOf } from "@longshore/archive/testing";
import { blobOf } from "@longshore/suite";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);

const OCI = "application/vnd.oci.image";
const INDEX = `${OCI}.index.v1+json`;
const MANIFEST = `${OCI}.manifest.v1+json`;
/** A load or a look at an image that takes longer walks what it needn't. */
const LIMIT_MS = 10_000;

/** An archive in OCI's layout that is being made. */
class Archive {
  private readonly files = new Map<string, Buffer>();

  /** Add a blob; its descriptor. */
  blob(mediaType: string, content: Buffer | object) {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const { digest } = blobOf(bytes);
    this.files.set(`blobs/${digest.replace(":", "/")}`, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Add an image; what its manifest says besides. */
  image(more: object = {}) {
    const tar = tarOf([{ name: "a", content: "x" }]);
    const layer = this.blob(`${OCI}.layer.v1.tar+gzip`, zlib.gzipSync(tar));
    const rootfs = { type: "layers", diff_ids: [blobOf(tar).digest] };
    const config = this.blob(`${OCI}.config.v1+json`, { architecture: "amd64", os: "linux", rootfs });
    return this.blob(MANIFEST, {
      ...{ schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] },
      ...more,
    });
  }

  /** The archive's bytes, with one image of this name. */
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

/** What the engine says of an archive, as the last line of its answer. */
async function load(archive: Buffer): Promise<string> {
  const response = await fetch("http://docker/images/load", {
    unix: world.api.socketPath,
    method: "POST",
    body: archive,
  });
  return (await response.text()).trim().split("\n").at(-1) ?? "";
}

test("a manifest that is an index as well is not loaded", async () => {
  const archive = new Archive();
  const hidden = archive.image({ annotations: { which: "hidden" } });
  const before = await names();
  const said = await load(archive.bytes("ambiguous", archive.image({ manifests: [hidden] })));
  expect(said).toContain("ambiguous manifest: it has both manifests and layers");
  expect(await names()).toEqual(before);
});

test("an index that has layers as well is not loaded", async () => {
  const archive = new Archive();
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [archive.image()], layers: [] };
  expect(await load(archive.bytes("ambiguous", archive.blob(INDEX, index)))).toContain("ambiguous manifest");
  expect(await names()).not.toContain("ambiguous:1");
});

test("an index of more entries than an image has is not loaded", async () => {
  const archive = new Archive();
  const manifests = Array.from({ length: 1001 }, () => archive.image());
  const said = await load(archive.bytes("many", archive.blob(INDEX, { schemaVersion: 2, manifests })));
  expect(said).toMatch(/manifests: .*1000/);
  expect(await names()).not.toContain("many:1");
});

test("an index that lists another a thousand times, on three levels, is loaded, shown and saved in no time", async () => {
  const archive = new Archive();
  let target: object = archive.image();
  for (const size of [1000, 1000, 1000])
    target = archive.blob(INDEX, { schemaVersion: 2, manifests: Array(size).fill(target) });
  const { api } = world;
  const start = Date.now();
  expect(await load(archive.bytes("bomb", target))).toContain("Loaded image: bomb:1");
  expect(await names()).toContain("bomb:1");
  expect((await api.call("GET", "/v1.55/images/json?manifests=1")).status).toBe(200);
  expect((await api.call("GET", "/v1.55/images/bomb:1/json?manifests=1")).status).toBe(200);
  expect((await api.call("GET", "/images/bomb:1/get")).status).toBe(200);
  expect((await api.call("DELETE", "/images/bomb:1")).status).toBe(200);
  expect(Date.now() - start).toBeLessThan(LIMIT_MS);
  expect(await names()).not.toContain("bomb:1");
});
