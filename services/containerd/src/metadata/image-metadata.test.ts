import { afterEach, beforeEach, expect, test } from "bun:test";
import { digestOf } from "@longshore/digest";
import { openStore, type Store } from "@longshore/store";
import { Database } from "./database.ts";
import { type Image, ImageMetadata } from "./image-metadata.ts";
import { LeaseMetadata } from "./lease-metadata.ts";

const scope = { namespace: "default" };
const code = (wanted: string) => expect.objectContaining({ code: wanted });
const target = (text: string) => ({ mediaType: "m", digest: digestOf(text), size: 3, annotations: {} });
const image = (name: string, more: Partial<Image> = {}): Image => ({
  name,
  labels: {},
  target: target(name),
  ...more,
});

let store: Store;
let database: Database;
let images: ImageMetadata;
let dirty: number;
beforeEach(() => {
  store = openStore("sqlite::memory:");
  database = new Database(store);
  images = new ImageMetadata(database);
  dirty = 0;
  database.onDirty = () => dirty++;
});
afterEach(() => store[Symbol.asyncDispose]());

test("create() makes an image, its namespace with it, once", async () => {
  const created = await images.create(scope, image("a", { labels: { x: "1", empty: "" } }));
  expect(created).toMatchObject({ name: "a", labels: { x: "1" }, createdAt: created.updatedAt });
  expect(await database.namespaces()).toEqual(["default"]);
  expect(images.create(scope, image("a"))).rejects.toThrow('image "a": already exists');
  expect(images.get({ namespace: "other" }, "a")).rejects.toThrow('image "a": not found');
  const dated = await images.create(scope, image("b"), "1970-01-01T00:00:05.000000000Z");
  expect(dated.createdAt).toBe("1970-01-01T00:00:05.000000000Z");
});

test.each([
  ["no name", image("")],
  ["no digest", image("a", { target: { ...target("a"), digest: "rubbish" } })],
  ["no size", image("a", { target: { ...target("a"), size: 0 } })],
  ["no media type", image("a", { target: { ...target("a"), mediaType: "" } })],
  ["a label too long", image("a", { labels: { big: "x".repeat(5000) } })],
])("create() refuses an image with %s", (_, bad) => {
  expect(images.create(scope, bad)).rejects.toEqual(code("invalid_argument"));
});

test("update() changes what the paths name", async () => {
  const { createdAt } = await images.create(scope, image("a", { labels: { x: "1", y: "2" } }));
  const wanted = image("a", {
    labels: { x: "9", z: "3" },
    target: { ...target("new"), annotations: { n: "1" } },
  });
  expect(await images.update(scope, wanted, ["labels.z"])).toMatchObject({
    labels: { x: "1", y: "2", z: "3" },
    target: target("a"),
    createdAt,
  });
  expect((await images.update(scope, image("a"), ["labels.x"])).labels).toEqual({ y: "2", z: "3" });
  expect((await images.update(scope, wanted, ["annotations.n"])).target.annotations).toEqual({ n: "1" });
  expect(dirty).toBe(0);
  expect((await images.update(scope, wanted, ["target"])).target).toEqual(wanted.target);
  expect(dirty).toBe(1);
  expect((await images.update(scope, wanted, [])).labels).toEqual({ x: "9", z: "3" });
  expect(images.update(scope, wanted, ["name"])).rejects.toEqual(code("invalid_argument"));
  expect(images.update(scope, image("absent"), [])).rejects.toEqual(code("not_found"));
});

test("list() filters by name, target and labels", async () => {
  await images.create(scope, image("docker/a", { labels: { "a.b": "1" } }));
  await images.create(scope, image("docker/b"));
  const names = async (...filters: string[]) => (await images.list(scope, filters)).map(({ name }) => name);
  expect(await names()).toEqual(["docker/a", "docker/b"]);
  expect(await names("name==docker/b")).toEqual(["docker/b"]);
  expect(await names("name~=/^docker/", "name==x")).toHaveLength(2);
  expect(await names('labels."a.b"==1')).toEqual(["docker/a"]);
  expect(await names(`target.digest==${digestOf("docker/b")}`)).toEqual(["docker/b"]);
  expect(await names("target.mediatype==other")).toEqual([]);
  expect(names("name=x")).rejects.toEqual(code("invalid_argument"));
});

test("delete() may be bound to a target", async () => {
  await images.create(scope, image("a"));
  expect(images.delete(scope, "a", digestOf("else"))).rejects.toThrow("has target");
  await images.delete(scope, "a", digestOf("a"));
  expect(dirty).toBe(1);
  expect(images.delete(scope, "a")).rejects.toEqual(code("not_found"));
});

test("leases refuse what they can't hold, and know their resources apart", async () => {
  const leases = new LeaseMetadata(database);
  await leases.create(scope, "a b/c", {});
  const resources = [
    { type: "content", id: digestOf("x") },
    { type: "images", id: "example.test/x y:z" },
    { type: "snapshots/overlayfs", id: "key with space" },
  ];
  for (const resource of resources) await leases.addResource(scope, "a b/c", resource);
  expect(await leases.listResources(scope, "a b/c")).toEqual(resources);
  await leases.create(scope, "a", {});
  expect(await leases.listResources(scope, "a")).toEqual([]);
  expect(leases.addResource(scope, "a", { type: "sandbox", id: "x" })).rejects.toEqual(code("unimplemented"));
  expect(leases.addResource(scope, "a", { type: "snapshots", id: "x" })).rejects.toEqual(
    code("invalid_argument"),
  );
  expect(leases.addResource(scope, "absent", { type: "content", id: "x" })).rejects.toEqual(
    code("not_found"),
  );
  await leases.deleteResource(scope, "a b/c", { type: "content", id: digestOf("x") });
  expect(await leases.listResources(scope, "a b/c")).toHaveLength(2);
});
