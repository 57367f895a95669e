import { expect, test } from "bun:test";
import { Container } from "@longshore/api/containerd/services/containers/v1/containers";
import { openStore } from "@longshore/store";
import { ContainerStore } from "./container-store.ts";
import { NamespaceStore } from "./namespace-store.ts";

const container = (id: string, fields: Partial<Container> = {}) => ({
  ...Container.fromPartial({
    id,
    runtime: { name: "io.containerd.runc.v2", options: undefined },
    spec: { typeUrl: "spec", value: Buffer.from([0, 255]) },
    labels: { a: "1" },
  }),
  ...fields,
});

test("ContainerStore keeps a container whole, in its namespace", async () => {
  await using store = openStore("sqlite::memory:");
  const containers = new ContainerStore(store);
  const extensions = { x: { typeUrl: "t", value: Buffer.from("v") } };
  const created = await containers.create("moby", container("c1", { extensions, image: "i" }));
  expect(await containers.get("moby", "c1")).toEqual(created);
  expect(containers.get("other", "c1")).rejects.toThrow('container "c1" in namespace "other": not found');
  expect(containers.create("moby", container("c1"))).rejects.toThrow('container "c1": already exists');
  await containers.delete("moby", "c1");
  expect(containers.delete("moby", "c1")).rejects.toThrow("container c1: not found");
});

test("ContainerStore.update() changes what the mask names, and nothing that may not change", async () => {
  await using store = openStore("sqlite::memory:");
  const containers = new ContainerStore(store);
  await containers.create("moby", container("c1", { image: "old", snapshotter: "overlayfs" }));
  const wanted = container("c1", { image: "new", labels: { b: "2" }, snapshotter: "overlayfs" });
  expect(await containers.update("moby", wanted, ["labels.b"])).toMatchObject({
    image: "old",
    labels: { a: "1", b: "2" },
  });
  expect(await containers.update("moby", wanted, [])).toMatchObject({ image: "new", labels: { b: "2" } });
  expect(containers.update("moby", wanted, ["runtime"])).rejects.toThrow('cannot update "runtime" field');
  const moved = { ...wanted, snapshotter: "native" };
  expect(containers.update("moby", moved, [])).rejects.toThrow("container.Snapshotter field is immutable");
  expect(containers.update("moby", container("c2"), [])).rejects.toThrow('container "c2": not found');
});

test("ContainerStore.create() refuses what can't be a container", async () => {
  await using store = openStore("sqlite::memory:");
  const containers = new ContainerStore(store);
  const refused = async (fields: Partial<Container>, why: string) =>
    expect(containers.create("moby", container("c1", fields))).rejects.toThrow(why);
  await refused({ id: "../c1" }, "create container failed validation: container.ID");
  await refused({ spec: undefined }, "container.Spec must be set");
  await refused({ runtime: undefined }, "container.Runtime.Name must be set");
  await refused({ snapshotKey: "k" }, "container.Snapshotter must be set if container.SnapshotKey is set");
  await refused({ labels: { k: "v".repeat(4096) } }, "greater than maximum size (4096 bytes)");
});

test("NamespaceStore refuses to delete a namespace that something is in", async () => {
  await using store = openStore("sqlite::memory:");
  const namespaces = new NamespaceStore(store);
  await namespaces.create("moby", { a: "1" });
  expect(namespaces.create("moby", {})).rejects.toThrow('namespace "moby": already exists');
  await namespaces.ensure("moby");
  expect(await namespaces.labels("moby")).toEqual({ a: "1" });
  const containers = new ContainerStore(store);
  await containers.create("moby", container("c1"));
  expect(namespaces.delete("moby")).rejects.toThrow(
    'namespace "moby" must be empty, but it still has containers',
  );
  await containers.delete("moby", "c1");
  await namespaces.delete("moby");
  expect(namespaces.delete("moby")).rejects.toThrow('namespace "moby": not found');
});
