import { type Api, absent, digest, type Step, times } from "./api.ts";

export const target = (of: string = digest, size = 13n, mediaType = "application/x") => ({
  digest: of,
  size,
  mediaType,
  annotations: {},
});
export const image = (name: string, more: object = {}) => ({
  name,
  labels: {},
  target: target(),
  ...times,
  ...more,
});
export const names = async (api: Api, ...filters: string[]) =>
  (await api.images.list({ filters })).images.map(({ name }) => name).sort();
export const create = (api: Api, name: string, more: object = {}) =>
  api.images.create({ image: image(name, more), sourceDateEpoch: undefined });
export const update = (api: Api, name: string, more: object, ...updateMask: string[]) =>
  api.images.update({ image: image(name, more), updateMask, sourceDateEpoch: undefined });

export const IMAGES: Step[] = [
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
