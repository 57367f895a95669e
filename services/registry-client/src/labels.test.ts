import { expect, test } from "bun:test";
import { gcLabels, missingLabels, sourceLabel } from "./labels.ts";
import { DOCKER_CONFIG, OCI_INDEX, OCI_MANIFEST } from "./media-types.ts";

const blob = (mediaType: string, digest: string) => ({ mediaType, digest, size: 1 });

test("gcLabels() names config and layers of a manifest as containerd's pull does", () => {
  const labels = gcLabels({
    kind: "manifest",
    mediaType: OCI_MANIFEST,
    config: blob(DOCKER_CONFIG, "c"),
    layers: [
      blob("application/vnd.docker.image.rootfs.diff.tar.gzip", "l0"),
      blob("application/vnd.oci.image.layer.v1.tar+zstd", "l1"),
      blob("application/x-other", "o0"),
    ],
  });
  expect(labels).toEqual({
    "containerd.io/gc.ref.content.config": "c",
    "containerd.io/gc.ref.content.l.0": "l0",
    "containerd.io/gc.ref.content.l.1": "l1",
    "containerd.io/gc.ref.content.0": "o0",
  });
});

test("gcLabels() names all manifests of an index, wanted or not", () => {
  const manifests = [blob(OCI_MANIFEST, "a"), blob(OCI_MANIFEST, "b")];
  expect(gcLabels({ kind: "index", mediaType: OCI_INDEX, manifests })).toEqual({
    "containerd.io/gc.ref.content.m.0": "a",
    "containerd.io/gc.ref.content.m.1": "b",
  });
});

test("sourceLabel() adds a repository to those known, sorted and once, under the host without its port", () => {
  const key = "containerd.io/distribution.source.127.0.0.1";
  expect(sourceLabel("127.0.0.1:5000", "b/x")).toEqual({ [key]: "b/x" });
  expect(sourceLabel("127.0.0.1:5000", "b/x", { [key]: "c,a" })).toEqual({ [key]: "a,b/x,c" });
  expect(sourceLabel("127.0.0.1", "a", { [key]: "a,c" })).toEqual({ [key]: "a,c" });
  expect(sourceLabel("[::1]:5000", "a")).toEqual({ "containerd.io/distribution.source.::1": "a" });
  expect(sourceLabel("127.0.0.1", "a", { [key]: "x".repeat(4096) })).toEqual({});
});

test("missingLabels() keeps what is absent or different", () => {
  expect(missingLabels({ a: "1", b: "2", c: "3" }, { a: "1", b: "x" })).toEqual({ b: "2", c: "3" });
});
