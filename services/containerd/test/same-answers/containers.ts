import { type Api, collected, type Step, times } from "./api.ts";

export const container = (id: string, more: object = {}) => ({
  id,
  ...{ labels: {}, image: "", snapshotter: "", snapshotKey: "", sandbox: "", extensions: {}, ...times },
  runtime: { name: "io.containerd.runc.v2", options: undefined },
  spec: { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: Buffer.from("{}") },
  ...more,
});
export const make = (api: Api, id: string, more: object = {}) =>
  api.containers.create({ container: container(id, more) });
export const change = (api: Api, id: string, more: object, ...updateMask: string[]) =>
  api.containers.update({ container: container(id, more), updateMask });
export const ids = async (api: Api, ...filters: string[]) =>
  (await api.containers.list({ filters })).containers.map(({ id }) => id).sort();
export const any = { typeUrl: "x", value: Buffer.from("y") };

export const CONTAINERS: Step[] = [
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

export const TASKS: Step[] = [
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
