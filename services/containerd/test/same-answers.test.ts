import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import zlib from "node:zlib";
import { ContainersDefinition } from "@longshore/api/containerd/services/containers/v1/containers";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { EventsDefinition } from "@longshore/api/containerd/services/events/v1/events";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { IntrospectionDefinition } from "@longshore/api/containerd/services/introspection/v1/introspection";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { NamespacesDefinition } from "@longshore/api/containerd/services/namespaces/v1/namespace";
import { Kind, SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { tarOf } from "@longshore/archive/testing";
import { digestOf } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import { channelTo, createClient } from "@longshore/rpc";
import { realContainerdRelease } from "@longshore/suite";
import { Daemon } from "./daemon.ts";
import { RealContainerd } from "./real-containerd.ts";

setDefaultTimeout(60_000);

/** Both are asked everything, in this order; what the one answers, the other must answer. */
type Step = readonly [what: string, ask: (api: Api) => unknown, options?: StepOptions];
interface StepOptions {
  /** Words differ from version to version of the original. */
  readonly message?: boolean;
  /** The original answers "unknown". */
  readonly code?: boolean;
}
type Api = ReturnType<typeof apiOf>;

const NAMESPACE = "same";
const GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";

function apiOf(address: string) {
  const channel = channelTo(address);
  const clients = (metadata: Record<string, string>) => ({
    containers: createClient(channel, ContainersDefinition, { metadata }),
    content: createClient(channel, ContentDefinition, { metadata }),
    diff: createClient(channel, DiffDefinition, { metadata }),
    events: createClient(channel, EventsDefinition, { metadata }),
    images: createClient(channel, ImagesDefinition, { metadata }),
    introspection: createClient(channel, IntrospectionDefinition, { metadata }),
    leases: createClient(channel, LeasesDefinition, { metadata }),
    namespaces: createClient(channel, NamespacesDefinition, { metadata }),
    snapshots: createClient(channel, SnapshotsDefinition, { metadata }),
    tasks: createClient(channel, TasksDefinition, { metadata }),
  });
  return {
    ...clients({ "containerd-namespace": NAMESPACE, "containerd-lease": "all" }),
    unleased: clients({ "containerd-namespace": NAMESPACE }),
    nowhere: clients({}),
    misnamed: clients({ "containerd-namespace": "no/name" }),
    badLease: clients({ "containerd-namespace": NAMESPACE, "containerd-lease": "none" }),
    elsewhere: clients({ "containerd-namespace": "other" }),
    close: () => channel.close(),
  };
}

const hello = Buffer.from("hello, world\n");
const digest = digestOf(hello);
const absent = digestOf("absent");
const tar = tarOf([{ name: "file", content: "content", uid: 0, gid: 0 }]);
const layer = zlib.gzipSync(tar);
const times = { createdAt: undefined, updatedAt: undefined };

interface Write {
  action?: WriteAction;
  ref?: string;
  total?: number;
  expected?: string;
  offset?: number;
  data?: Buffer | string;
  labels?: Record<string, string>;
}
/** The answers; of those that are alike one, for the original sends its last one twice. */
async function write(api: { content: Api["content"] }, ...requests: Write[]) {
  const list = requests.map((request) => ({
    action: request.action ?? WriteAction.WRITE,
    ref: request.ref ?? "",
    total: BigInt(request.total ?? 0),
    expected: request.expected ?? "",
    offset: BigInt(request.offset ?? 0),
    data: Buffer.from(request.data ?? ""),
    labels: request.labels ?? {},
  }));
  const send = async function* () {
    yield* list;
  };
  const answers = await Array.fromAsync(api.content.write(send()));
  return answers.filter((one, at) => !Bun.deepEquals(one, answers[at - 1]));
}
const { STAT, COMMIT } = WriteAction;
const commit = (api: Api, ref: string, data: Buffer | string, labels: Record<string, string> = {}) =>
  write(api, { action: COMMIT, ref, data, labels });
const read = async (api: Api, of: string, offset: number, size: number) => {
  const parts = await Array.fromAsync(
    api.content.read({ digest: of, offset: BigInt(offset), size: BigInt(size) }),
  );
  return [parts[0]?.offset, Buffer.concat(parts.map(({ data }) => data)).toString()];
};
const info = (of: string, labels: Record<string, string> = {}) => ({
  digest: of,
  size: 0n,
  labels,
  ...times,
});
const collected = async <T>(stream: AsyncIterable<T>) => await Array.fromAsync(stream);
const contents = async (api: Api, ...filters: string[]) =>
  (await collected(api.content.list({ filters })))
    .flatMap((part) => part.info)
    .map((one) => one.digest)
    .sort();

const CONTENT: Step[] = [
  ["info without a namespace", (api) => api.nowhere.content.info({ digest })],
  ["info in a namespace that can't be", (api) => api.misnamed.content.info({ digest })],
  ["info of rubbish", (api) => api.content.info({ digest: "rubbish" })],
  ["info of a digest of another algorithm", (api) => api.content.info({ digest: "md5:abcdef" })],
  ["info of what isn't there", (api) => api.content.info({ digest })],
  ["a write without a ref", (api) => write(api, { data: "x" })],
  ["a write under no lease there is", (api) => write(api.badLease, { action: COMMIT, ref: "l", data: "x" })],
  ["stat of a new ingest", (api) => write(api, { action: STAT, ref: "new", total: 20 })],
  ["its status", (api) => api.content.status({ ref: "new" })],
  ["a part", (api) => write(api, { ref: "new", data: "hello, " })],
  ["a part at another offset", (api) => write(api, { ref: "new", offset: 3, data: "x" })],
  ["the rest", (api) => write(api, { ref: "new", offset: 7, data: "world\n" })],
  ["all ingests", (api) => api.content.listStatuses({ filters: [] })],
  ["ingests by a filter", (api) => api.content.listStatuses({ filters: ["ref==none"] })],
  ["ingests by a bad filter", (api) => api.content.listStatuses({ filters: ["ref=="] })],
  ["a commit of another size", (api) => write(api, { action: COMMIT, ref: "new", offset: 13, total: 12 })],
  [
    "a commit of another digest",
    (api) => write(api, { action: COMMIT, ref: "other", data: "x", expected: absent }),
    { message: false },
  ],
  // What is left of a failed commit differs: ours keeps nothing that can't become what was promised.
  [
    "abort them",
    async (api) => [await api.content.abort({ ref: "new" }), await api.content.abort({ ref: "other" })],
  ],
  ["a commit", (api) => commit(api, "again", hello, { colour: "blue", nothing: "" })],
  ["it again", (api) => commit(api, "again", hello)],
  ["it again, announced", (api) => write(api, { ref: "more", expected: digest })],
  [
    "it again, in another namespace",
    (api) => write(api.elsewhere, { action: STAT, ref: "x", expected: digest }),
  ],
  ["what is left of the ingest", (api) => api.content.listStatuses({ filters: [] })],
  ["info", (api) => api.content.info({ digest })],
  ["info elsewhere", (api) => api.elsewhere.content.info({ digest })],
  ["read all", (api) => read(api, digest, 0, 0)],
  ["read a part", (api) => read(api, digest, 7, 5)],
  ["read beyond the end", (api) => read(api, digest, 7, 500)],
  ["read from the end", (api) => read(api, digest, 13, 0)],
  ["read from behind the end", (api) => read(api, digest, 14, 1)],
  ["read from before the start", (api) => read(api, digest, -3, 5)],
  ["read a negative number", (api) => read(api, digest, 3, -5)],
  ["read what isn't there", (api) => read(api, absent, 0, 0)],
  ["read rubbish", (api) => read(api, "rubbish", 0, 0), { message: false }],
  [
    "update all labels",
    (api) => api.content.update({ info: info(digest, { a: "1", b: "" }), updateMask: [] }),
  ],
  [
    "update one label",
    (api) => api.content.update({ info: info(digest, { c: "1" }), updateMask: ["labels.c"] }),
  ],
  [
    "update labels",
    (api) => api.content.update({ info: info(digest, { "d.e": "1" }), updateMask: ["labels"] }),
  ],
  ["remove a label", (api) => api.content.update({ info: info(digest), updateMask: ["labels.d.e"] })],
  ["update its size", (api) => api.content.update({ info: info(digest), updateMask: ["size"] })],
  ["update what isn't there", (api) => api.content.update({ info: info(absent), updateMask: [] })],
  ["update rubbish", (api) => api.content.update({ info: info("rubbish"), updateMask: [] })],
  [
    "too long a label",
    (api) => api.content.update({ info: info(digest, { a: "x".repeat(5000) }), updateMask: [] }),
    { message: false },
  ],
  ["another blob", (api) => commit(api, "second", "second", { colour: "red", "a/b.c": "1" })],
  ["list", (api) => contents(api)],
  ["list by digest", (api) => contents(api, `digest==${digest}`)],
  ["list by label", (api) => contents(api, "labels.colour==red")],
  ["list by label with dots", (api) => contents(api, 'labels."a/b.c"==1')],
  ["list by presence", (api) => contents(api, "labels.colour")],
  ["list by absence", (api) => contents(api, "labels.colour!=red")],
  ["list by either", (api) => contents(api, "labels.none", "digest~=sha256")],
  ["list by both", (api) => contents(api, "labels.colour,digest~=^md5")],
  ["list by a regular expression", (api) => contents(api, "labels.colour~=/^r.d$/")],
  ["list by a size", (api) => contents(api, "size==13")],
  ["list by nothing", (api) => contents(api, "")],
  ["list by rubbish", (api) => contents(api, "==")],
  ["list by an unknown operator", (api) => contents(api, "labels.colour=red")],
  ["list by an open quote", (api) => contents(api, 'labels.colour=="red')],
  ["list by what follows", (api) => contents(api, "labels.colour==red extra")],
  ["delete", (api) => api.content.delete({ digest: digestOf("second") })],
  ["delete it again", (api) => api.content.delete({ digest: digestOf("second") })],
  ["delete rubbish", (api) => api.content.delete({ digest: "rubbish" }), { message: false }],
  ["abort what isn't there", (api) => api.content.abort({ ref: "none" })],
  [
    "abort",
    async (api) => [
      await write(api, { ref: "aborted", data: "x" }),
      await api.content.abort({ ref: "aborted" }),
    ],
  ],
  ["the status of what isn't there", (api) => api.content.status({ ref: "aborted" }), { message: false }],
];

const target = (of: string = digest, size = 13n, mediaType = "application/x") => ({
  digest: of,
  size,
  mediaType,
  annotations: {},
});
const image = (name: string, more: object = {}) => ({
  name,
  labels: {},
  target: target(),
  ...times,
  ...more,
});
const names = async (api: Api, ...filters: string[]) =>
  (await api.images.list({ filters })).images.map(({ name }) => name).sort();
const create = (api: Api, name: string, more: object = {}) =>
  api.images.create({ image: image(name, more), sourceDateEpoch: undefined });
const update = (api: Api, name: string, more: object, ...updateMask: string[]) =>
  api.images.update({ image: image(name, more), updateMask, sourceDateEpoch: undefined });

const IMAGES: Step[] = [
  ["get without a namespace", (api) => api.nowhere.images.get({ name: "x" })],
  ["get what isn't there", (api) => api.images.get({ name: "x" })],
  ["get nothing", (api) => api.images.get({ name: "" })],
  [
    "create nothing",
    (api) => api.images.create({ image: undefined, sourceDateEpoch: undefined }),
    { message: false },
  ],
  ["create without a name", (api) => create(api, "")],
  ["create without a target", (api) => create(api, "x", { target: undefined }), { message: false }],
  [
    "create with a digest that can't be",
    (api) => create(api, "x", { target: target("rubbish") }),
    { message: false },
  ],
  ["create without a size", (api) => create(api, "x", { target: target(digest, 0n) }), { message: false }],
  [
    "create without a type",
    (api) => create(api, "x", { target: target(digest, 1n, "") }),
    { message: false },
  ],
  ["create", (api) => create(api, "one", { labels: { a: "1", b: "" } })],
  ["create of absent content", (api) => create(api, "two", { target: target(absent), labels: { c: "2" } })],
  ["create it again", (api) => create(api, "one")],
  ["get", (api) => api.images.get({ name: "one" })],
  ["list", (api) => names(api)],
  ["list by name", (api) => names(api, "name==one")],
  ["list by pattern", (api) => names(api, "name~=o$")],
  ["list by digest", (api) => names(api, `target.digest==${digest}`)],
  ["list by type", (api) => names(api, "target.mediatype==application/x")],
  ["list by label", (api) => names(api, "labels.a==1", "labels.c")],
  ["list by what images don't have", (api) => names(api, "colour==blue")],
  ["update all", (api) => update(api, "one", { labels: { d: "4" } })],
  ["update a label", (api) => update(api, "one", { labels: { e: "5" } }, "labels.e")],
  ["update labels", (api) => update(api, "one", { labels: { f: "6" } }, "labels")],
  ["update the target", (api) => update(api, "one", { target: target(absent) }, "target")],
  [
    "update annotations",
    (api) => update(api, "one", { target: { ...target(), annotations: { x: "y" } } }, "annotations"),
  ],
  [
    "update one annotation",
    (api) => update(api, "one", { target: { ...target(), annotations: { z: "y" } } }, "annotations.z"),
  ],
  ["update the name", (api) => update(api, "one", {}, "name")],
  [
    "update to a bad target",
    (api) => update(api, "one", { target: target("rubbish") }, "target"),
    { message: false },
  ],
  ["update what isn't there", (api) => update(api, "none", {})],
  ["update without a name", (api) => update(api, "", {})],
  ["delete", (api) => api.images.delete({ name: "two", sync: true })],
  ["delete it again", (api) => api.images.delete({ name: "two", sync: false })],
  ["delete nothing", (api) => api.images.delete({ name: "", sync: false })],
];

const snapshotter = "overlayfs";
const prepare = (api: Api, key: string, parent = "", labels: Record<string, string> = {}, of = snapshotter) =>
  api.snapshots.prepare({ snapshotter: of, key, parent, labels });
const view = (api: Api, key: string, parent: string, of = snapshotter) =>
  api.snapshots.view({ snapshotter: of, key, parent, labels: {} });
const commitSnapshot = (
  api: Api,
  name: string,
  key: string,
  labels: Record<string, string> = {},
  of = snapshotter,
) => api.snapshots.commit({ snapshotter: of, name, key, labels, parent: "" });
const stat = (api: Api, key: string) => api.snapshots.stat({ snapshotter, key });
const snapshotInfo = (name: string, labels: Record<string, string>) => ({
  name,
  parent: "",
  kind: Kind.UNKNOWN,
  labels,
  ...times,
});
const keys = async (api: Api, ...filters: string[]) =>
  (await collected(api.snapshots.list({ snapshotter, filters })))
    .flatMap((part) => part.info)
    .map(({ name }) => name)
    .sort();
const updateSnapshot = (api: Api, name: string, labels: Record<string, string>, ...updateMask: string[]) =>
  api.snapshots.update({ snapshotter, info: snapshotInfo(name, labels), updateMask });

const SNAPSHOTS: Step[] = [
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

const apply = async (api: Api, blob: Buffer, mediaType: string, key: string) => {
  await commit(api, `layer-${key}`, blob).catch(() => {});
  const { mounts } = await prepare(api, `apply-${key}`);
  const diff = { mediaType, digest: digestOf(blob), size: BigInt(blob.length), annotations: {} };
  return await api.diff.apply({ diff, mounts, payloads: {}, syncFs: false });
};
const layerOf = async (api: Api, mediaType: string, labels: Record<string, string> = {}) => {
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

const DIFF: Step[] = [
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

const container = (id: string, more: object = {}) => ({
  id,
  ...{ labels: {}, image: "", snapshotter: "", snapshotKey: "", sandbox: "", extensions: {}, ...times },
  runtime: { name: "io.containerd.runc.v2", options: undefined },
  spec: { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: Buffer.from("{}") },
  ...more,
});
const make = (api: Api, id: string, more: object = {}) =>
  api.containers.create({ container: container(id, more) });
const change = (api: Api, id: string, more: object, ...updateMask: string[]) =>
  api.containers.update({ container: container(id, more), updateMask });
const ids = async (api: Api, ...filters: string[]) =>
  (await api.containers.list({ filters })).containers.map(({ id }) => id).sort();
const any = { typeUrl: "x", value: Buffer.from("y") };

const CONTAINERS: Step[] = [
  ["get without a namespace", (api) => api.nowhere.containers.get({ id: "a" })],
  ["get what isn't there", (api) => api.containers.get({ id: "a" })],
  ["get nothing", (api) => api.containers.get({ id: "" }), { message: false }],
  ["create without an id", (api) => make(api, "")],
  ["create with an id that can't be", (api) => make(api, "no/name")],
  ["create with too long an id", (api) => make(api, "x".repeat(77))],
  ["create without a runtime", (api) => make(api, "a", { runtime: undefined }), { message: false }],
  ["create without a spec", (api) => make(api, "a", { spec: undefined })],
  ["create with a snapshot of no snapshotter", (api) => make(api, "a", { snapshotKey: "x" })],
  ["create with an extension without a name", (api) => make(api, "a", { extensions: { "": any } })],
  [
    "create with too long a label",
    (api) => make(api, "a", { labels: { a: "x".repeat(5000) } }),
    { message: false },
  ],
  ["create", (api) => make(api, "a", { labels: { l: "1" }, image: "img" })],
  ["create another", (api) => make(api, "b", { runtime: { name: "io.containerd.other.v1", options: any } })],
  ["create it again", (api) => make(api, "a")],
  ["get", (api) => api.containers.get({ id: "a" })],
  ["list", (api) => ids(api)],
  ["list by id", (api) => ids(api, "id==a")],
  ["list by image", (api) => ids(api, "image==img")],
  ["list by runtime", (api) => ids(api, "runtime.name~=other")],
  ["list by label", (api) => ids(api, "labels.l")],
  ["list by rubbish", (api) => ids(api, "id=a"), { message: false }],
  [
    "list as a stream",
    async (api) =>
      (await collected(api.containers.listStream({ filters: ["id==b"] }))).map((one) => one.container?.id),
  ],
  ["update all", (api) => change(api, "a", { labels: { m: "2" } })],
  ["update the snapshotter", (api) => change(api, "a", { snapshotter: "overlayfs" })],
  [
    "update the runtime",
    (api) => change(api, "a", { runtime: { name: "io.containerd.other.v1", options: undefined } }),
  ],
  ["update labels", (api) => change(api, "a", { labels: { n: "3" } }, "labels")],
  ["update a label", (api) => change(api, "a", { labels: { o: "3" } }, "labels.o")],
  ["update the image", (api) => change(api, "a", { image: "other" }, "image")],
  ["update an extension", (api) => change(api, "a", { extensions: { f: any } }, "extensions.f")],
  ["update extensions", (api) => change(api, "a", { extensions: { f: any, g: any } }, "extensions")],
  ["update the spec", (api) => change(api, "a", { spec: any }, "spec")],
  ["update the snapshot's key", (api) => change(api, "a", { snapshotKey: "x" }, "snapshotkey")],
  ["update the id", (api) => change(api, "a", {}, "id")],
  ["update what isn't there", (api) => change(api, "none", {}, "labels")],
  ["update without an id", (api) => change(api, "", {}, "labels")],
  ["delete", (api) => api.containers.delete({ id: "b" })],
  ["delete it again", (api) => api.containers.delete({ id: "b" })],
];

const TASKS: Step[] = [
  ["get without a namespace", (api) => api.nowhere.tasks.get({ containerId: "a", execId: "" })],
  ["get of a container that isn't there", (api) => api.tasks.get({ containerId: "none", execId: "" })],
  ["get of a container without a task", (api) => api.tasks.get({ containerId: "a", execId: "" })],
  ["start", (api) => api.tasks.start({ containerId: "a", execId: "" })],
  ["kill", (api) => api.tasks.kill({ containerId: "a", execId: "", signal: 9, all: false })],
  ["delete", (api) => api.tasks.delete({ containerId: "a" })],
  ["delete a process", (api) => api.tasks.deleteProcess({ containerId: "a", execId: "e" })],
  [
    "exec",
    (api) =>
      api.tasks.exec({
        containerId: "a",
        execId: "e",
        stdin: "",
        stdout: "",
        stderr: "",
        terminal: false,
        spec: any,
      }),
  ],
  [
    "exec without an id",
    (api) =>
      api.tasks.exec({
        containerId: "a",
        execId: "",
        stdin: "",
        stdout: "",
        stderr: "",
        terminal: false,
        spec: any,
      }),
  ],
  ["resize", (api) => api.tasks.resizePty({ containerId: "a", execId: "", width: 1, height: 1 })],
  ["close stdin", (api) => api.tasks.closeIO({ containerId: "a", execId: "", stdin: true })],
  ["pause", (api) => api.tasks.pause({ containerId: "a" })],
  ["resume", (api) => api.tasks.resume({ containerId: "a" })],
  ["pids", (api) => api.tasks.listPids({ containerId: "a" })],
  [
    "checkpoint",
    (api) => api.tasks.checkpoint({ containerId: "a", parentCheckpoint: "", options: undefined }),
  ],
  ["update", (api) => api.tasks.update({ containerId: "a", resources: any, annotations: {} })],
  ["wait", (api) => api.tasks.wait({ containerId: "a", execId: "" })],
  ["metrics", (api) => api.tasks.metrics({ filters: [] })],
  ["metrics by rubbish", (api) => api.tasks.metrics({ filters: ["=="] }), { code: false }],
  ["list", (api) => api.tasks.list({ filter: "" })],
  [
    "create for a container that isn't there",
    (api) =>
      api.tasks.create({
        containerId: "none",
        rootfs: [],
        stdin: "",
        stdout: "",
        stderr: "",
        terminal: false,
        checkpoint: undefined,
        options: undefined,
        runtimePath: "",
        taskApiAddress: "",
        taskApiVersion: 0,
      }),
  ],
];

const resource = (type: string, id: string) => ({ type, id });
const LEASES: Step[] = [
  ["create without a namespace", (api) => api.nowhere.leases.create({ id: "x", labels: {} })],
  ["create", (api) => api.leases.create({ id: "x", labels: { a: "1", b: "" } })],
  ["create it again", (api) => api.leases.create({ id: "x", labels: {} })],
  ["list", async (api) => (await api.leases.list({ filters: [] })).leases.map(({ id }) => id).sort()],
  ["list by id", async (api) => (await api.leases.list({ filters: ["id==x"] })).leases],
  [
    "list by label",
    async (api) => (await api.leases.list({ filters: ["labels.a==1"] })).leases.map(({ id }) => id),
  ],
  ["list by rubbish", (api) => api.leases.list({ filters: ["=="] }), { message: false }],
  ["add content", (api) => api.leases.addResource({ id: "x", resource: resource("content", digest) })],
  ["add it again", (api) => api.leases.addResource({ id: "x", resource: resource("content", digest) })],
  [
    "add a snapshot",
    (api) => api.leases.addResource({ id: "x", resource: resource("snapshots/overlayfs", "one") }),
  ],
  ["add an ingest", (api) => api.leases.addResource({ id: "x", resource: resource("ingests", "ref") })],
  [
    "add a snapshot of no snapshotter",
    (api) => api.leases.addResource({ id: "x", resource: resource("snapshots", "one") }),
  ],
  [
    "add what leases don't hold",
    (api) => api.leases.addResource({ id: "x", resource: resource("colours", "blue") }),
  ],
  ["add to none", (api) => api.leases.addResource({ id: "none", resource: resource("content", digest) })],
  [
    "resources",
    async (api) =>
      (await api.leases.listResources({ id: "x" })).resources.map(({ type, id }) => `${type} ${id}`).sort(),
  ],
  ["resources of none", (api) => api.leases.listResources({ id: "none" })],
  [
    "delete a resource",
    (api) => api.leases.deleteResource({ id: "x", resource: resource("ingests", "ref") }),
  ],
  ["delete it again", (api) => api.leases.deleteResource({ id: "x", resource: resource("ingests", "ref") })],
  [
    "delete of none",
    (api) => api.leases.deleteResource({ id: "none", resource: resource("ingests", "ref") }),
  ],
  ["delete", (api) => api.leases.delete({ id: "x", sync: true })],
  ["delete it again", (api) => api.leases.delete({ id: "x", sync: false })],
];

const namespace = (name: string, labels: Record<string, string> = {}) => ({ name, labels });
/** What is there then: the original's answer is empty. */
async function updateNamespace(
  api: Api,
  name: string,
  labels: Record<string, string>,
  ...updateMask: string[]
) {
  await api.namespaces.update({ namespace: namespace(name, labels), updateMask });
  return await api.namespaces.get({ name });
}
const NAMESPACES: Step[] = [
  ["get what isn't there", (api) => api.namespaces.get({ name: "none" })],
  ["create", (api) => api.namespaces.create({ namespace: namespace("n1", { a: "1" }) })],
  ["create it again", (api) => api.namespaces.create({ namespace: namespace("n1") })],
  ["create without a name", (api) => api.namespaces.create({ namespace: namespace("") })],
  ["create with a name that can't be", (api) => api.namespaces.create({ namespace: namespace("-x") })],
  ["get", (api) => api.namespaces.get({ name: "n1" })],
  [
    "list",
    async (api) => (await api.namespaces.list({ filter: "" })).namespaces.map(({ name }) => name).sort(),
  ],
  ["update a label", (api) => updateNamespace(api, "n1", { b: "2" }, "labels.b")],
  ["update labels", (api) => updateNamespace(api, "n1", { c: "3" }, "labels")],
  ["update all", (api) => updateNamespace(api, "n1", { d: "4" })],
  ["update its name", (api) => updateNamespace(api, "n1", {}, "name")],
  ["update what isn't there", (api) => updateNamespace(api, "n2", { a: "1" }, "labels.a")],
  ["delete what is in use", (api) => api.namespaces.delete({ name: NAMESPACE }), { message: false }],
  ["delete", (api) => api.namespaces.delete({ name: "n1" })],
  ["delete it again", (api) => api.namespaces.delete({ name: "n1" })],
];

const event = { typeUrl: "containerd.services.images.v1.ImageCreate", value: Buffer.from("0a0178", "hex") };
const envelope = (more: object = {}) => ({
  timestamp: { seconds: 1n, nanos: 2 },
  namespace: "forwarded",
  topic: "/a/b",
  event,
  ...more,
});
/** What a subscriber with filters is told of while something happens. */
async function heard(api: Api, filters: string[], ...happening: Array<() => Promise<unknown>>) {
  const abort = new AbortController();
  const stream = api.events.subscribe({ filters }, { signal: abort.signal })[Symbol.asyncIterator]();
  const first = stream.next();
  // Until it is subscribed.
  const mark = () => api.events.publish({ topic: "/mark", event });
  const marking = setInterval(() => void mark().catch(() => {}), 20);
  await first;
  clearInterval(marking);
  for (const happen of happening) await happen();
  await api.events.publish({ topic: "/end", event });
  const topics: string[] = [];
  for (;;) {
    const { value, done } = await stream.next();
    if (done || value.topic === "/end") break;
    if (value.topic !== "/mark") topics.push(`${value.namespace} ${value.topic} ${value.event?.typeUrl}`);
  }
  abort.abort();
  await stream.next().catch(() => {});
  return topics;
}
const ALWAYS = ["topic~=^.(mark|end)$"];
const imageEvents = (api: Api) => [
  () => create(api, "evented", { labels: { role: "x" } }),
  () => update(api, "evented", { labels: { role: "y" } }, "labels"),
  () => api.images.delete({ name: "evented", sync: false }),
  () => api.events.forward({ envelope: envelope() }),
];
const EVENTS: Step[] = [
  [
    "publish without a namespace",
    (api) => api.nowhere.events.publish({ topic: "/x", event }),
    { message: false },
  ],
  ["publish without a topic", (api) => api.events.publish({ topic: "", event })],
  ["publish with a topic that can't be", (api) => api.events.publish({ topic: "x", event })],
  ["publish with a topic of nothing", (api) => api.events.publish({ topic: "/", event })],
  ["publish with a bad component", (api) => api.events.publish({ topic: "/x/$", event })],
  ["forward without a namespace", (api) => api.events.forward({ envelope: envelope({ namespace: "" }) })],
  ["forward with a topic that can't be", (api) => api.events.forward({ envelope: envelope({ topic: "b" }) })],
  [
    "forward without a time",
    (api) => api.events.forward({ envelope: envelope({ timestamp: undefined }) }),
    { message: false },
  ],
  ["subscribe by rubbish", (api) => collected(api.events.subscribe({ filters: ["=="] })), { code: false }],
  ["all events", (api) => heard(api, [], ...imageEvents(api))],
  ["by topic", (api) => heard(api, [...ALWAYS, "topic~=|^/images/|"], ...imageEvents(api))],
  ["by namespace", (api) => heard(api, [...ALWAYS, "namespace==forwarded"], ...imageEvents(api))],
  ["by a field", (api) => heard(api, [...ALWAYS, "event.name==evented"], ...imageEvents(api))],
  ["by a label", (api) => heard(api, [...ALWAYS, "event.labels.role==y"], ...imageEvents(api))],
  [
    "by two at once",
    (api) => heard(api, [...ALWAYS, 'topic=="/images/update",namespace==same'], ...imageEvents(api)),
  ],
];

const plugins = async (api: Api, ...filters: string[]) =>
  (await api.introspection.plugins({ filters })).plugins.map(({ type, id }) => `${type}.${id}`);
const INTROSPECTION: Step[] = [
  ["plugins by id", (api) => plugins(api, "id==overlayfs")],
  ["plugins by type", (api) => plugins(api, "type==io.containerd.gc.v1")],
  ["plugins by both", (api) => plugins(api, "type==io.containerd.gc.v1,id==overlayfs")],
  ["plugins by what they don't have", (api) => plugins(api, "colour==blue")],
  ["plugins by rubbish", (api) => plugins(api, "id=overlayfs"), { message: false }],
  [
    "a snapshotter",
    async (api) => {
      const [plugin] = (await api.introspection.plugins({ filters: ["id==native"] })).plugins;
      return [plugin?.platforms, plugin?.capabilities, plugin?.initErr];
    },
  ],
  ["server", async (api) => Object.keys(await api.introspection.server({})).includes("uuid")],
];

const SUBJECTS: Readonly<Record<string, readonly Step[]>> = {
  content: CONTENT,
  images: IMAGES,
  snapshots: SNAPSHOTS,
  diff: DIFF,
  containers: CONTAINERS,
  tasks: TASKS,
  leases: LEASES,
  namespaces: NAMESPACES,
  events: EVENTS,
  introspection: INTROSPECTION,
};

/** The one that ours is compared with word by word. */
const COMPARED = "1.6";
const release = realContainerdRelease();
if (release !== COMPARED)
  console.log(
    `# skipped: answers beside the real containerd: it is ${release ?? "not installed"}, not ${COMPARED}`,
  );

describe.skipIf(release !== COMPARED)("ours and the real containerd answer the same", () => {
  let ours: Daemon;
  let real: RealContainerd;
  const apis: Api[] = [];
  const seenBy: Record<"ours" | "real", Seen> = { ours: new Map(), real: new Map() };
  beforeAll(async () => {
    [ours, real] = await Promise.all([Daemon.start(), RealContainerd.start()]);
    apis.push(apiOf(ours.address), apiOf(real.address));
    for (const api of apis) await api.unleased.leases.create({ id: "all", labels: {} });
  });
  afterAll(async () => {
    for (const api of apis) api.close();
    await Promise.all([ours, real].map((one) => one[Symbol.asyncDispose]()));
  });

  for (const [subject, steps] of Object.entries(SUBJECTS)) {
    describe(subject, () => {
      test.each(steps as Step[])("%s", async (_what, ask, options = {}) => {
        const [mine, theirs] = await Promise.all(
          apis.map((api) => answerOf(async () => await ask(api), options)),
        );
        expect(comparable(mine, seenBy.ours)).toEqual(comparable(theirs, seenBy.real));
      });
    });
  }
});

async function answerOf(
  ask: () => Promise<unknown>,
  { message = true, code = true }: StepOptions,
): Promise<unknown> {
  try {
    return { answer: await ask() };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { failed: code ? error.code : true, message: message && code ? error.message : "" };
  }
}

/** Numbers of snapshots, by what stands before them in a path, in the order in which they were seen. */
type Seen = Map<string, number>;

/** Without what can't be the same: times, directories, numbers of snapshots, the order of mount options. */
function comparable(value: unknown, seen: Seen, key = ""): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") {
    return value.replace(/\/tmp\/ls-[^/]+\/(\S*?snapshots\/\d+)/g, (_, place: string) => {
      if (!seen.has(place)) seen.set(place, seen.size);
      return `${place.replace(/\d+$/, "")}#${seen.get(place)}`;
    });
  }
  if (Buffer.isBuffer(value)) return value.toString("base64");
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) {
    const items = value.map((item) => comparable(item, seen));
    return key === "options" ? items.sort() : items;
  }
  if (typeof value !== "object" || value === null) return value;
  if ("seconds" in value && "nanos" in value) return "<time>";
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, comparable(item, seen, name)]),
  );
}
