import { describe, expect, test } from "bun:test";
import { EngineError } from "@longshore/errors";
import fc from "fast-check";
import { parseManifest } from "./manifest.ts";
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from "./media-types.ts";

const digest = `sha256:${"ab".repeat(32)}`;
const config = { mediaType: OCI_CONFIG, digest, size: 7 };
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 9 };
const bytes = (body: unknown) => Buffer.from(JSON.stringify(body));

test("parseManifest() reads manifests and indexes of both families", () => {
  const manifest = { schemaVersion: 2, config, layers: [layer] };
  expect(parseManifest(bytes(manifest), DOCKER_MANIFEST)).toEqual({
    kind: "manifest",
    mediaType: DOCKER_MANIFEST,
    config,
    layers: [layer],
  });
  expect(parseManifest(bytes(manifest), "").mediaType).toBe(OCI_MANIFEST);
  expect(parseManifest(bytes({ ...manifest, mediaType: OCI_MANIFEST }), "text/plain").mediaType).toBe(
    OCI_MANIFEST,
  );
  const platform = { os: "linux", architecture: "arm64", variant: "v8", "os.version": "1" };
  const manifests = [{ mediaType: OCI_MANIFEST, digest, size: 3, platform, annotations: { a: "b" } }];
  expect(parseManifest(bytes({ schemaVersion: 2, manifests }), DOCKER_LIST)).toEqual({
    kind: "index",
    mediaType: DOCKER_LIST,
    manifests: [
      {
        mediaType: OCI_MANIFEST,
        digest,
        size: 3,
        annotations: { a: "b" },
        platform: { os: "linux", architecture: "arm64", variant: "v8" },
      },
    ],
  });
});

describe("parseManifest() refuses", () => {
  test.each<[string, unknown, string, string]>([
    ["both layers and manifests", { layers: [layer], config, manifests: [] }, "", "ambiguous manifest"],
    [
      "a type other than the registry's",
      { mediaType: OCI_MANIFEST, config, layers: [] },
      OCI_INDEX,
      "the registry says",
    ],
    [
      "an unknown type",
      { mediaType: "application/x", config, layers: [] },
      "",
      'unsupported manifest media type "application/x"',
    ],
    [
      "an index that calls itself a manifest",
      { mediaType: OCI_MANIFEST, manifests: [] },
      "",
      "unsupported manifest media type",
    ],
    ["schema 1", { schemaVersion: 1, fsLayers: [] }, "", "schema 1 support has been removed"],
    [
      "schema 1 by its type",
      {},
      "application/vnd.docker.distribution.manifest.v1+prettyjws",
      "schema 1 support",
    ],
    ["no config", { layers: [] }, "", "config is not a JSON object"],
    ["no layers", { config }, "", "no list of layers"],
    ["a list", [], "", "manifest is not a JSON object"],
    [
      "a digest that climbs",
      { config: { ...config, digest: "sha256:../../x" }, layers: [] },
      "",
      "invalid checksum",
    ],
    [
      "a short digest",
      { config: { ...config, digest: "sha256:00" }, layers: [] },
      "",
      "invalid checksum digest length",
    ],
    ["a negative size", { config, layers: [{ ...layer, size: -1 }] }, "", "layer 0 has no valid size"],
    ["a fractional size", { config, layers: [{ ...layer, size: 1.5 }] }, "", "layer 0 has no valid size"],
    ["a huge size", { config, layers: [{ ...layer, size: 1e300 }] }, "", "layer 0 has no valid size"],
  ])("%s", (_what, body, contentType, message) => {
    expect(() => parseManifest(bytes(body), contentType)).toThrow(
      expect.objectContaining({ code: "invalid_argument", message: expect.stringContaining(message) }),
    );
  });

  test("what is not JSON or not UTF-8", () => {
    expect(() => parseManifest(Buffer.from("<html>"), OCI_MANIFEST)).toThrow("manifest is not JSON");
    expect(() => parseManifest(Buffer.from([0x22, 0xff, 0x22]), OCI_MANIFEST)).toThrow(
      "manifest is not JSON",
    );
  });

  test("any other body with an EngineError", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom("", OCI_MANIFEST, DOCKER_LIST), (body, type) => {
        try {
          parseManifest(Buffer.from(body), type);
        } catch (error) {
          expect(error).toBeInstanceOf(EngineError);
        }
      }),
    );
  });
});
