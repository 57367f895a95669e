import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import path from "node:path";
import { busyboxImage, findStaticBusybox } from "@longshore/suite";
import { output, pushImage, tempDir } from "@longshore/testkit";
import { api } from "./engine-api.ts";
import { useWorld } from "./world.ts";

const world = useWorld({ pull: [] });
const image = busyboxImage(findStaticBusybox() ?? "");
const id = image.blobs[0]?.digest ?? "";
const { digest } = image.manifest;

let one: string;
let two: string;
beforeAll(async () => {
  const { registry } = world();
  [one, two] = [`${registry}/one/a`, `${registry}/two/b`];
  for (const name of ["one/a", "two/b"]) await pushImage(registry, name, "1", image);
});

const run = (...args: string[]) => world().docker().run(args);
const pull = (...names: string[]) => Promise.all(names.map((name) => run("pull", "-q", name)));

/** What `docker rmi` says: names, and of digests those of images; layers are one line. */
async function rmi(...args: string[]): Promise<string[]> {
  const { stdout, stderr } = await run("rmi", ...args);
  const lines = `${stdout}${stderr}`.trim().split("\n");
  return lines.map((line) =>
    /^Deleted: sha256:/.test(line) && !line.endsWith(id) ? "Deleted: a layer" : line,
  );
}

const untagged = (name: string) => `Untagged: ${name}`;
const gone = [`Deleted: ${id}`, "Deleted: a layer"];

afterEach(async () => {
  await run("rmi", "-f", id);
});

test("events of images name their labels, and tell of saves, of names that were given, and of commits", async () => {
  const since = Date.now() / 1000;
  using dir = tempDir();
  const file = path.join(dir.path, "root.tar");
  await output(["tar", "-cf", file, "-C", "/etc", "hostname"]);
  const made = (await run("import", "-c", "LABEL who=me", file, "told:1")).stdout.trim();
  await run("tag", made, "told:2");
  await run("save", "-o", file, "told:1", "told:2");
  const container = (await run("create", "told:1", "x")).stdout.trim();
  await run("commit", container, "told-of:1");
  await run("rm", container);
  await run("rmi", "told-of:1", "told:1", "told:2");
  await run("load", "-q", "-i", file);
  await run("rmi", "told:1", "told:2");
  const query = new URLSearchParams({
    since: String(since),
    until: String(Date.now() / 1000),
    filters: JSON.stringify({ type: ["image"], label: ["who=me"] }),
  });
  const { body } = await api(world(), "GET", `/v1.55/events?${query}`);
  const events = body
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const untag = ["untag", "untag", "delete"];
  expect(events.map(({ Action }) => Action)).toEqual([
    ...["tag", "import", "tag", "save", "create", "tag", "untag", "delete", ...untag, "load", ...untag],
  ]);
  expect(events[0].Actor).toEqual({ ID: made, Attributes: { who: "me", name: "told:1" } });
  expect(events[3].Actor).toEqual({ ID: made, Attributes: { who: "me", name: made } });
});

test("events of a pull and a push are of the name with its tag", async () => {
  const since = Date.now() / 1000;
  await pull(`${one}:1`);
  await run("push", `${one}:1`);
  const query = new URLSearchParams({
    since: String(since),
    until: String(Date.now() / 1000),
    filters: JSON.stringify({ event: ["pull", "push"] }),
  });
  const { body } = await api(world(), "GET", `/v1.55/events?${query}`);
  const events = body
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const Actor = { ID: `${one}:1`, Attributes: { name: one } };
  expect(events).toMatchObject([
    { Action: "pull", Actor },
    { Action: "push", Actor },
  ]);
});

/** All of this is as Docker 20.10 has it. */
describe("docker rmi of an image that was pulled", () => {
  test("by its only name: the digest that it has in the repository goes too", async () => {
    await pull(`${one}:1`);
    expect(await rmi(`${one}:1`)).toEqual([untagged(`${one}:1`), untagged(`${one}@${digest}`), ...gone]);
  });

  test("by the last tag of a repository, while it has a name elsewhere: the digest goes, the image stays", async () => {
    await pull(`${one}:1`);
    await run("tag", `${one}:1`, `${one}:2`);
    await run("tag", `${one}:1`, "elsewhere:1");
    expect(await rmi(`${one}:1`)).toEqual([untagged(`${one}:1`)]);
    expect(await rmi(`${one}:2`)).toEqual([untagged(`${one}:2`), untagged(`${one}@${digest}`)]);
    expect(await rmi("elsewhere:1")).toEqual([untagged("elsewhere:1"), ...gone]);
  });

  test("by the last tag of a repository of which a digest was pulled as well: both go", async () => {
    await pull(`${one}:1`, `${one}@${digest}`);
    expect(await rmi(`${one}:1`)).toEqual([untagged(`${one}:1`), untagged(`${one}@${digest}`), ...gone]);
    await pull(`${one}@${digest}`);
    expect(await rmi(`${one}@${digest}`)).toEqual([untagged(`${one}@${digest}`), ...gone]);
  });

  test("by its id: with one tag and its digest without force, with names in several repositories by force", async () => {
    await pull(`${one}:1`, `${one}@${digest}`);
    expect(await rmi(id)).toEqual([untagged(`${one}:1`), untagged(`${one}@${digest}`), ...gone]);
    await pull(`${one}:1`, `${two}:1`);
    expect((await rmi(id))[0]).toContain("(must be forced) - image is referenced in multiple repositories");
    expect(await rmi("-f", id)).toEqual([
      ...[untagged(`${one}:1`), untagged(`${one}@${digest}`)],
      ...[untagged(`${two}:1`), untagged(`${two}@${digest}`), ...gone],
    ]);
  });

  test("layers that a container or another image has stay, and aren't told", async () => {
    await pull(`${one}:1`);
    const container = (await run("create", `${one}:1`)).stdout.trim();
    const made = (await run("commit", container, "made:1")).stdout.trim();
    expect(await rmi("-f", `${one}:1`)).toEqual([
      ...[untagged(`${one}:1`), untagged(`${one}@${digest}`)],
      `Deleted: ${id}`,
    ]);
    await run("rm", container);
    const { stdout } = await run("rmi", "made:1");
    const [, image, ...layers] = stdout.trim().split("\n");
    expect([image, layers.length]).toEqual([`Deleted: ${made}`, 2]);
  });

  test("an image that was pushed has a digest in that repository too, and says so to those who ask", async () => {
    await pull(`${one}:1`);
    await run("tag", `${one}:1`, `${two}:pushed`);
    expect(await rmi(`${two}:pushed`)).toEqual([untagged(`${two}:pushed`)]);
    await run("tag", `${one}:1`, `${two}:pushed`);
    await run("push", `${two}:pushed`);
    const { body } = await api(world(), "GET", `/v1.55/images/${one}:1/json`);
    const host = world().registry.replace(/:\d+$/, "");
    expect(JSON.parse(body).Identity.Pull).toEqual([
      { Repository: `${host}/one/a` },
      { Repository: `${host}/two/b` },
    ]);
    expect(await rmi(`${two}:pushed`)).toEqual([untagged(`${two}:pushed`), untagged(`${two}@${digest}`)]);
  });
});
