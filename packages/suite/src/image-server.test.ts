import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";
import { serveImages } from "./image-server.ts";
import { blobOf, makeImage } from "./local-image.ts";

function image() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-"));
  fs.writeFileSync(path.join(dir, "hello"), "hello\n");
  try {
    return makeImage({ layers: [dir], cmd: ["hello"] });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

test("makeImage() names every blob by its digest, and the same files give the same image", () => {
  const { manifest, blobs } = image();
  const parsed = JSON.parse(manifest.bytes.toString());
  const [config, layer] = blobs;
  expect(parsed.config.digest).toBe(config?.digest);
  expect(parsed.layers).toEqual([
    {
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: layer?.digest,
      size: layer?.bytes.length,
    },
  ]);
  const diffId = blobOf(zlib.gunzipSync(layer?.bytes ?? "")).digest;
  expect(JSON.parse(config?.bytes.toString() ?? "").rootfs.diff_ids).toEqual([diffId]);
  expect(image().manifest.digest).toBe(manifest.digest);
});

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from((await response.arrayBuffer()) as ArrayBuffer);
}

test("serveImages() answers what a pull asks for, and 404 with the registry's codes", async () => {
  const hello = image();
  await using server = await serveImages({ images: { "a/hello:1": hello } });
  const get = (file: string, method = "GET") => fetch(`http://${server.host}/v2/${file}`, { method });
  expect((await get("")).status).toBe(200);
  const head = await get("a/hello/manifests/1", "HEAD");
  expect(head.headers.get("docker-content-digest")).toBe(hello.manifest.digest);
  expect(head.headers.get("content-type")).toBe("application/vnd.oci.image.manifest.v1+json");
  const byDigest = await get(`a/hello/manifests/${hello.manifest.digest}`);
  expect(await bytesOf(byDigest)).toEqual(hello.manifest.bytes);
  for (const { digest, bytes } of hello.blobs) {
    expect(await bytesOf(await get(`a/hello/blobs/${digest}`))).toEqual(bytes);
  }
  const code = async (file: string) => {
    const response = await get(file);
    expect(response.status).toBe(404);
    return ((await response.json()) as { errors: { code: string }[] }).errors[0]?.code;
  };
  expect(await code("a/hello/manifests/2")).toBe("MANIFEST_UNKNOWN");
  expect(await code("b/manifests/1")).toBe("NAME_UNKNOWN");
  expect(await code(`a/hello/blobs/sha256:${"0".repeat(64)}`)).toBe("BLOB_UNKNOWN");
  expect(server.requests[1]).toBe("HEAD /v2/a/hello/manifests/1");
});
