import { type Api, digest, NAMESPACE, type Step } from "./api.ts";

export const resource = (type: string, id: string) => ({ type, id });
export const LEASES: Step[] = [
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

export const namespace = (name: string, labels: Record<string, string> = {}) => ({ name, labels });
/** What is there then: the original's answer is empty. */
export async function updateNamespace(
  api: Api,
  name: string,
  labels: Record<string, string>,
  ...updateMask: string[]
) {
  await api.namespaces.update({ namespace: namespace(name, labels), updateMask });
  return await api.namespaces.get({ name });
}
export const NAMESPACES: Step[] = [
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
