import { Kind } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { digestOf } from "@longshore/digest";
import { type Api, absent, collected, commit, GZIP, hello, layer, type Step, tar, times } from "./api.ts";

export const snapshotter = "overlayfs";
export const prepare = (
  api: Api,
  key: string,
  parent = "",
  labels: Record<string, string> = {},
  of = snapshotter,
) => api.snapshots.prepare({ snapshotter: of, key, parent, labels });
export const view = (api: Api, key: string, parent: string, of = snapshotter) =>
  api.snapshots.view({ snapshotter: of, key, parent, labels: {} });
export const commitSnapshot = (
  api: Api,
  name: string,
  key: string,
  labels: Record<string, string> = {},
  of = snapshotter,
) => api.snapshots.commit({ snapshotter: of, name, key, labels, parent: "" });
export const stat = (api: Api, key: string) => api.snapshots.stat({ snapshotter, key });
export const snapshotInfo = (name: string, labels: Record<string, string>) => ({
  name,
  parent: "",
  kind: Kind.UNKNOWN,
  labels,
  ...times,
});
export const keys = async (api: Api, ...filters: string[]) =>
  (await collected(api.snapshots.list({ snapshotter, filters })))
    .flatMap((part) => part.info)
    .map(({ name }) => name)
    .sort();
export const updateSnapshot = (
  api: Api,
  name: string,
  labels: Record<string, string>,
  ...updateMask: string[]
) => api.snapshots.update({ snapshotter, info: snapshotInfo(name, labels), updateMask });

export const SNAPSHOTS: Step[] = [
  [
    "prepare without a namespace",
    (api) => api.nowhere.snapshots.prepare({ snapshotter, key: "a", parent: "", labels: {} }),
  ],
  ["prepare with no snapshotter", (api) => prepare(api, "a", "", {}, "")],
  ["prepare with a snapshotter that isn't there", (api) => prepare(api, "a", "", {}, "none")],
  ["prepare without a key", (api) => prepare(api, ""), { code: false }],
  ["prepare", (api) => prepare(api, "a", "", { l: "1", "containerd.io/gc.root": "x" })],
  ["prepare it again", (api) => prepare(api, "a")],
  ["prepare on an active one", (api) => prepare(api, "b", "a"), { message: false }],
  ["prepare on what isn't there", (api) => prepare(api, "b", "none")],
  ["stat", (api) => stat(api, "a")],
  ["stat of what isn't there", (api) => stat(api, "none")],
  ["mounts", (api) => api.snapshots.mounts({ snapshotter, key: "a" })],
  ["mounts of what isn't there", (api) => api.snapshots.mounts({ snapshotter, key: "none" })],
  ["commit", (api) => commitSnapshot(api, "one", "a", { m: "2" })],
  ["stat of it", (api) => stat(api, "one")],
  ["commit what isn't there", (api) => commitSnapshot(api, "two", "a")],
  ["commit a committed one", (api) => commitSnapshot(api, "two", "one"), { message: false }],
  [
    "mounts of a committed one",
    (api) => api.snapshots.mounts({ snapshotter, key: "one" }),
    { message: false },
  ],
  ["view", (api) => view(api, "v", "one")],
  ["commit a view", (api) => commitSnapshot(api, "two", "v"), { message: false }],
  ["prepare on it", (api) => prepare(api, "c", "one")],
  ["commit under a name that is taken", (api) => commitSnapshot(api, "one", "c")],
  ["commit the next", (api) => commitSnapshot(api, "two", "c")],
  ["prepare on both", (api) => prepare(api, "d", "two")],
  ["view of both", (api) => view(api, "w", "two")],
  ["view on nothing", (api) => view(api, "n", "")],
  ["prepare what is there already", (api) => prepare(api, "e", "", { "containerd.io/snapshot.ref": "two" })],
  ["prepare for what isn't there", (api) => prepare(api, "f", "", { "containerd.io/snapshot.ref": "three" })],
  ["list", (api) => keys(api)],
  ["list by kind", (api) => keys(api, "kind==committed")],
  ["list by parent", (api) => keys(api, "parent==one")],
  ["list by name", (api) => keys(api, "name~=^[ab]$")],
  ["list by label", (api) => keys(api, "labels.m==2")],
  ["list by rubbish", (api) => keys(api, "!!"), { code: false }],
  [
    "list of a snapshotter that isn't there",
    (api) => collected(api.snapshots.list({ snapshotter: "none", filters: [] })),
  ],
  ["update labels", (api) => updateSnapshot(api, "one", { x: "1", y: "" }, "labels")],
  ["update one label", (api) => updateSnapshot(api, "one", { z: "1" }, "labels.z")],
  ["update all", (api) => updateSnapshot(api, "one", { q: "1" })],
  ["update the parent", (api) => updateSnapshot(api, "one", {}, "parent")],
  ["update what isn't there", (api) => updateSnapshot(api, "none", {}, "labels")],
  ["usage of what isn't there", (api) => api.snapshots.usage({ snapshotter, key: "none" })],
  ["usage of a view", (api) => api.snapshots.usage({ snapshotter, key: "v" })],
  [
    "usage of a committed one",
    async (api) => (await api.snapshots.usage({ snapshotter, key: "one" })).inodes,
  ],
  ["remove a parent", (api) => api.snapshots.remove({ snapshotter, key: "one" })],
  ["remove what isn't there", (api) => api.snapshots.remove({ snapshotter, key: "none" })],
  ["remove", (api) => api.snapshots.remove({ snapshotter, key: "d" })],
  ["stat elsewhere", (api) => api.elsewhere.snapshots.stat({ snapshotter, key: "one" })],
  ["the native one: prepare", (api) => prepare(api, "a", "", {}, "native")],
  ["the native one: commit", (api) => commitSnapshot(api, "one", "a", {}, "native")],
  ["the native one: prepare on it", (api) => prepare(api, "b", "one", {}, "native")],
  ["the native one: view", (api) => view(api, "v", "one", "native")],
  ["the native one: view on nothing", (api) => view(api, "w", "", "native")],
  [
    "the native one: usage",
    async (api) => (await api.snapshots.usage({ snapshotter: "native", key: "one" })).inodes,
  ],
];

export const apply = async (api: Api, blob: Buffer, mediaType: string, key: string) => {
  await commit(api, `layer-${key}`, blob).catch(() => {});
  const { mounts } = await prepare(api, `apply-${key}`);
  const diff = { mediaType, digest: digestOf(blob), size: BigInt(blob.length), annotations: {} };
  return await api.diff.apply({ diff, mounts, payloads: {}, syncFs: false });
};
export const layerOf = async (api: Api, mediaType: string, labels: Record<string, string> = {}) => {
  const { mounts: right } = await api.snapshots.mounts({ snapshotter, key: "apply-gzip" });
  const { diff } = await api.diff.diff({
    left: [],
    right,
    mediaType,
    ref: `made-${mediaType}`,
    labels,
    sourceDateEpoch: undefined,
  });
  const made = await api.content.info({ digest: diff?.digest ?? "" });
  return [diff?.mediaType, Object.keys(made.info?.labels ?? {}).sort()];
};

export const DIFF: Step[] = [
  ["apply gzip", (api) => apply(api, layer, GZIP, "gzip")],
  ["apply an uncompressed one", (api) => apply(api, tar, "application/vnd.oci.image.layer.v1.tar", "plain")],
  [
    "apply Docker's",
    (api) => apply(api, layer, "application/vnd.docker.image.rootfs.diff.tar.gzip", "docker"),
  ],
  ["apply another type", (api) => apply(api, layer, "application/json", "json"), { code: false }],
  ["apply rubbish", (api) => apply(api, hello, GZIP, "rubbish"), { code: false }],
  [
    "apply what isn't there",
    (api) =>
      api.diff.apply({
        diff: { mediaType: GZIP, digest: absent, size: 1n, annotations: {} },
        mounts: [],
        payloads: {},
        syncFs: false,
      }),
    { message: false },
  ],
  ["make a layer, gzip", (api) => layerOf(api, GZIP, { kept: "1" })],
  ["make a layer, uncompressed", (api) => layerOf(api, "application/vnd.oci.image.layer.v1.tar")],
  ["make a layer, by default", (api) => layerOf(api, "")],
  ["make a layer of another type", (api) => layerOf(api, "application/json")],
];
