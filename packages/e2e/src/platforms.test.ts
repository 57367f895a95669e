import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { blobOf, findStaticBusybox, type LocalImage, makeImage } from "@longshore/suite";
import { type DockerCli, eventually, pushImage, tempDir } from "@longshore/testkit";
import { api } from "./engine-api.ts";
import { clis, ours, skipped, useWorld } from "./world.ts";

const world = useWorld({ pull: [] });

const INDEX = "application/vnd.oci.image.index.v1+json";

interface Entry {
  image: LocalImage;
  platform: { os: string; architecture: string; variant?: string };
}

/** An image whose only program is for a platform. */
function imageFor(platform: Entry["platform"]): Entry {
  using dir = tempDir();
  const root = path.join(dir.path, "root");
  fs.mkdirSync(root);
  const file = path.join(root, "uname");
  if (platform.architecture === "amd64") fs.copyFileSync(findStaticBusybox() ?? "", file);
  else fs.writeFileSync(file, elfHeader(platform.architecture === "arm64" ? 183 : 40));
  fs.chmodSync(file, 0o755);
  return { image: makeImage({ layers: [root], cmd: ["/uname", "-m"], platform }), platform };
}

/** The beginning of a program for another processor, which is all that the kernel looks at. */
function elfHeader(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  return header;
}

function indexOf(entries: readonly Entry[]): LocalImage {
  const manifests = entries.map(({ image: { manifest }, platform }) => ({
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    platform,
  }));
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  return { manifest: { ...blobOf(bytes), mediaType: INDEX }, blobs: [] };
}

const entries = [
  { os: "linux", architecture: "arm64", variant: "v8" },
  { os: "linux", architecture: "arm", variant: "v7" },
  { os: "linux", architecture: "amd64" },
].map(imageFor);
const index = indexOf(entries);
const [arm64, , amd64] = entries;

let many: string;
let single: string;
let foreign: string;

beforeAll(async () => {
  const { registry } = world();
  many = `${registry}/platforms/many:1`;
  single = `${registry}/platforms/single:1`;
  foreign = `${registry}/platforms/foreign:1`;
  for (const { image } of entries) await pushImage(registry, "platforms/many", image.manifest.digest, image);
  await pushImage(registry, "platforms/many", "1", index);
  if (arm64) await pushImage(registry, "platforms/single", "1", arm64.image);
  const others = indexOf(entries.slice(0, 2));
  for (const { image } of entries.slice(0, 2))
    await pushImage(registry, "platforms/foreign", image.manifest.digest, image);
  await pushImage(registry, "platforms/foreign", "1", others);
});

/** Of what inspect shows. */
function platformName(shown: string): string {
  const [{ Os, Architecture, Variant = "" }] = JSON.parse(shown);
  return `${Os}/${Architecture}/${Variant}`;
}

describe.each(clis)("platforms by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const run = (...args: string[]) => world().docker(cli).run(args);
  const platformOf = async (image: string) => platformName(await docker("image", "inspect", image));
  const idOf = ({ image }: Entry) => image.blobs[0]?.digest ?? "";

  afterEach(async () => {
    const left = (await docker("images", "-aq", "--no-trunc")).split("\n").filter(Boolean);
    if (left.length > 0) await docker("rmi", "-f", ...new Set(left));
  });

  test("the name moves from one platform's image to another's, which has none then", async () => {
    await docker("pull", "-q", many);
    expect(await platformOf(many)).toBe("linux/amd64/");
    const { stdout } = await run("pull", "--platform", "linux/arm64", many);
    expect(stdout).toContain("Pulling fs layer");
    expect(stdout).toContain(`Status: Downloaded newer image for ${many}`);
    expect((await run("pull", "--platform", "linux/arm64", many)).stdout).toContain(
      `Status: Image is up to date for ${many}`,
    );
    const listed = await docker("images", "--no-trunc", "--format", "{{.ID}} {{.Tag}}");
    expect(listed.split("\n").sort()).toEqual(
      [`${idOf(arm64 as Entry)} 1`, `${idOf(amd64 as Entry)} <none>`].sort(),
    );
    await docker("image", "prune", "-f");
    expect(await docker("images", "-aq", "--no-trunc")).toBe(idOf(arm64 as Entry));
    await docker("pull", "-q", many);
    expect(await platformOf(many)).toBe("linux/amd64/");
    expect(await docker("run", "--rm", many)).toBe("x86_64");
  });

  test("a platform that the index lacks is refused in Docker's words, and so is what is none", async () => {
    const lacking = await run("pull", "--platform", "linux/s390x", many);
    expect(lacking.status).toBe(1);
    expect(lacking.stderr).toContain("no matching manifest for linux/s390x in the manifest list entries");
    const own = await run("pull", foreign);
    expect(own.stderr).toContain("no matching manifest for linux/amd64 in the manifest list entries");
    const none = await run("pull", "--platform", "toaster", many);
    expect(none.stderr).toContain('"toaster": unknown operating system or architecture');
    expect(none.status).not.toBe(0);
    expect(await docker("images", "-aq")).toBe("");
  });

  test("a manifest without an index is taken for any platform, with Docker's warning", async () => {
    const { stdout } = await run("pull", "--platform", "linux/s390x", single);
    expect(stdout).toContain(
      `WARNING: image with reference ${single} was found but does not match the specified platform: wanted linux/s390x, actual: linux/arm64/v8`,
    );
    expect(await platformOf(single)).toBe("linux/arm64/v8");
  });

  test("run of another platform's image: a warning, unless it was asked for, and an error at its start", async () => {
    await docker("pull", "-q", "--platform", "linux/arm64", many);
    const plain = await run("run", "--rm", many);
    expect(plain.stderr).toContain(
      "WARNING: The requested image's platform (linux/arm64/v8) does not match the detected host platform (linux/amd64",
    );
    expect(plain.stderr).toContain("exec format error");
    expect(plain.status).not.toBe(0);
    const asked = await run("run", "--rm", "--platform", "linux/arm64", many);
    expect(asked.stderr).not.toContain("WARNING");
    expect(asked.stderr).toContain("exec format error");
    await eventually(async () => (await docker("ps", "-aq")) === "");
  });

  test("create --platform takes what is here, or else pulls what is asked for", async () => {
    await docker("pull", "-q", "--platform", "linux/arm64", many);
    const kept = await docker("create", "--platform", "linux/arm64", many);
    expect(await docker("inspect", "--format", "{{.Image}}", kept)).toBe(idOf(arm64 as Entry));
    const pulled = await run("create", "--platform", "linux/amd64", many);
    expect(pulled.stderr).toContain(`Unable to find image '${many}' locally`);
    const id = pulled.stdout.trim().split("\n").at(-1) ?? "";
    expect(await docker("inspect", "--format", "{{.Image}}", id)).toBe(idOf(amd64 as Entry));
    expect(await docker("start", "-a", id)).toBe("x86_64");
    await docker("rm", kept, id);
  });

  test("save, load and push keep the platform", async () => {
    await docker("pull", "-q", "--platform", "linux/arm64", many);
    using dir = tempDir();
    const file = path.join(dir.path, "many.tar");
    await docker("save", "-o", file, many);
    await docker("rmi", many);
    await docker("load", "-i", file);
    expect(await platformOf(many)).toBe("linux/arm64/v8");
    const copy = `${world().registry}/platforms/copy:1`;
    await docker("tag", many, copy);
    await docker("push", "-q", copy);
    await docker("rmi", many, copy);
    await docker("pull", "-q", "--platform", "linux/arm64", copy);
    expect(await docker("image", "inspect", "--format", "{{.Id}}", copy)).toBe(idOf(arm64 as Entry));
  });

  test("import --platform says what the files are for", async () => {
    using dir = tempDir();
    const file = path.join(dir.path, "root.tar");
    const tar = Bun.spawnSync(["tar", "-cf", file, "-C", "/etc", "hostname"]);
    expect(tar.exitCode).toBe(0);
    const id = await docker("import", "--platform", "linux/arm/v7", file, "imported:1");
    expect(await platformOf(id)).toBe("linux/arm/v7");
  });
});

test("create with a platform that the image is not for: 404 in Docker's words, and nothing is made", async () => {
  await world().docker()("pull", "-q", many);
  const create = (platform: string) =>
    api(
      world(),
      "POST",
      `/v1.44/containers/create?platform=${encodeURIComponent(platform)}`,
      JSON.stringify({ Image: many }),
    );
  const other = await create("linux/arm64");
  expect(other.status).toBe(404);
  expect(other.message).toBe(
    `image with reference ${many} was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64`,
  );
  expect((await create("linux/386/x y")).status).toBe(400);
  expect(await world().docker()("ps", "-aq")).toBe("");
  await world().docker()("rmi", many);
});

test.each([
  ["linux/arm64", "linux/arm64/v8"],
  ["linux/arm64/v8", "linux/arm64/v8"],
  ["linux/arm/v7", "linux/arm/v7"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/amd64", "linux/amd64/"],
])("pull --platform %s of an index brings %s, under the index's digest", async (asked, expected) => {
  const docker = world().docker();
  await docker("pull", "-q", "--platform", asked, many);
  const shown = await docker("image", "inspect", many);
  expect(platformName(shown)).toBe(expected);
  expect(JSON.parse(shown)[0].RepoDigests).toEqual([`${many.replace(/:1$/, "")}@${index.manifest.digest}`]);
  await docker("rmi", many);
});

describe("docker manifest inspect", () => {
  const inspect = (cli: DockerCli, ...args: string[]) =>
    world()
      .docker(cli)
      .run(["manifest", "inspect", "--insecure", ...args]);

  test("shows an index as it is put together anew, and a manifest as it is", async () => {
    const list = await inspect(ours, many);
    expect(list.stderr).toBe("");
    expect(list.stdout).toBe(
      `${JSON.stringify(
        {
          schemaVersion: 2,
          mediaType: INDEX,
          manifests: entries.map(({ image: { manifest }, platform: { os, architecture, variant } }) => ({
            mediaType: manifest.mediaType,
            size: manifest.bytes.length,
            digest: manifest.digest,
            platform: { architecture, os, ...(variant && { variant }) },
          })),
        },
        null,
        "   ",
      )}\n`,
    );
    const one = await inspect(ours, single);
    expect(one.stdout).toBe(
      `${JSON.stringify(JSON.parse(arm64?.image.manifest.bytes.toString() ?? ""), null, "\t")}\n`,
    );
    const verbose = JSON.parse((await inspect(ours, "-v", many)).stdout);
    expect(verbose.map((each: { Descriptor: { digest: string } }) => each.Descriptor.digest)).toEqual(
      entries.map(({ image }) => image.manifest.digest),
    );
    const missing = await inspect(ours, many.replace(/:1$/, ":none"));
    expect(missing).toMatchObject({
      status: 1,
      stdout: "",
      stderr: `no such manifest: ${many.replace(/:1$/, ":none")}\n`,
    });
  });

  // Those before know nothing of OCI's indexes.
  const newer = clis.filter(({ name }) => Number(/^docker (\d+)/.exec(name)?.[1] ?? 0) >= 27);
  if (newer.length === 0) skipped("no docker client of version 27 or newer to compare manifest inspect with");
  test.each(newer)("prints what $name does", async (cli) => {
    const args = [[many], [single], ["-v", many], ["-v", single], [many.replace(/:1$/, ":none")]];
    for (const one of args) expect(await inspect(ours, ...one)).toEqual(await inspect(cli, ...one));
  });
});
