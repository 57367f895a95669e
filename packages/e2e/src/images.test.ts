import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { type Docker, output, tempDir } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld({ pull: ["busybox", "debian"] });

let dir: ReturnType<typeof tempDir>;
beforeAll(() => {
  dir = tempDir();
});
afterAll(() => dir[Symbol.dispose]());

const inDir = (name: string) => path.join(dir.path, name);

/** Names of the files in a tar. */
const tarNames = async (file: string) => (await output(["tar", "-tf", file])).split("\n");
const tarFile = (file: string, name: string) => output(["tar", "-xOf", file, name]);

async function imageId(docker: Docker, name: string): Promise<string> {
  return docker("image", "inspect", "-f", "{{.Id}}", name);
}

describe.each(clis)("images by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const attempt = (...args: string[]) => world().docker(cli).run(args);

  test("save and load: an image that was removed comes back with its digests and names", async () => {
    const { busybox, debian } = world();
    const ids = [await imageId(world().docker(cli), busybox), await imageId(world().docker(cli), debian)];
    const digests = await docker("image", "inspect", "-f", "{{json .RepoDigests}}", debian);
    const file = inDir("two.tar");
    await docker("save", "-o", file, busybox, debian);
    const names = await tarNames(file);
    expect(names).toContain("manifest.json");
    expect(names).toContain("oci-layout");
    expect(names).toContain(`blobs/sha256/${ids[0]?.slice("sha256:".length)}`);

    await docker("rmi", busybox, debian);
    expect((await attempt("image", "inspect", busybox)).status).toBe(1);
    const loaded = await docker("load", "-i", file);
    expect(loaded).toContain(`Loaded image: ${busybox}`);
    expect(loaded).toContain(`Loaded image: ${debian}`);
    expect(await imageId(world().docker(cli), busybox)).toBe(ids[0] ?? "");
    expect(await imageId(world().docker(cli), debian)).toBe(ids[1] ?? "");
    expect(await docker("image", "inspect", "-f", "{{json .RepoDigests}}", debian)).toBe(digests);
    expect(await docker("run", "--rm", debian, "cat", "/etc/motd")).toBe("a Debian of packages");
  });

  test("load takes packed archives, and says what the name was before", async () => {
    const { busybox } = world();
    const file = inDir("packed.tar");
    await docker("save", "-o", file, busybox);
    await output(["gzip", "-kf", file]);
    expect(await docker("load", "-q", "-i", `${file}.gz`)).toBe(`Loaded image: ${busybox}`);
    const id = await docker("create", "--name", "changed", busybox, "true");
    try {
      await docker("commit", "changed", busybox);
      const other = await imageId(world().docker(cli), busybox);
      const loaded = await docker("load", "-i", file);
      expect(loaded).toContain(
        `The image ${busybox} already exists, renaming the old one with ID ${other} to empty string`,
      );
      expect(await docker("images", "-q", "--no-trunc", "-f", "dangling=true")).toBe(other);
      await docker("rmi", other);
    } finally {
      await docker("rm", "-f", id);
    }
  });

  test("save of a repository without a tag means all its tags; an id alone has no names", async () => {
    const { busybox } = world();
    const repository = busybox.slice(0, busybox.lastIndexOf(":"));
    await docker("tag", busybox, `${repository}:second`);
    const file = inDir("tags.tar");
    await docker("save", "-o", file, repository);
    const manifest = JSON.parse(await tarFile(file, "manifest.json")) as { RepoTags: string[] | null }[];
    expect(manifest.flatMap(({ RepoTags }) => RepoTags).sort()).toEqual([busybox, `${repository}:second`]);
    await docker("save", "-o", file, await imageId(world().docker(cli), busybox));
    expect(JSON.parse(await tarFile(file, "manifest.json"))).toMatchObject([{ RepoTags: null }]);
    await docker("rmi", `${repository}:second`);
    const refused = await attempt("save", "-o", inDir("none.tar"), "nothing/here");
    expect(refused.stderr).toContain("No such image: nothing/here");
  });

  test("load refuses what is no archive of images, and keeps nothing of it", async () => {
    const before = await docker("images", "-aq");
    fs.writeFileSync(inDir("noise"), Buffer.alloc(5000, "noise"));
    expect((await attempt("load", "-i", inDir("noise"))).stderr).toContain("archive/tar: invalid tar header");
    await output(["tar", "-cf", inDir("empty.tar"), "-C", dir.path, "noise"]);
    expect((await attempt("load", "-i", inDir("empty.tar"))).stderr).toContain("invalid archive");
    const broken = inDir("broken");
    fs.mkdirSync(broken, { recursive: true });
    const file = inDir("whole.tar");
    await docker("save", "-o", file, world().busybox);
    await output(["tar", "-xf", file, "-C", broken]);
    const layer = fs
      .readdirSync(path.join(broken, "blobs/sha256"))
      .map((name) => path.join(broken, "blobs/sha256", name))
      .sort((a, b) => fs.statSync(b).size - fs.statSync(a).size)[0];
    fs.appendFileSync(layer ?? "", "x");
    await output(["tar", "-cf", inDir("broken.tar"), "-C", broken, "."]);
    // The engine has that blob: it would not be read at all.
    await docker("rmi", world().busybox);
    try {
      expect((await attempt("load", "-i", inDir("broken.tar"))).stderr).toContain("has another digest");
    } finally {
      await docker("load", "-i", file);
    }
    expect((await docker("images", "-aq")).split("\n").sort()).toEqual(before.split("\n").sort());
  });

  test("diff, export, import: a container's files go out and come in as an image", async () => {
    const { busybox } = world();
    const script = "echo mine > /made; rm /bin/tr; mkdir -p /deep/er; ln -s made /link; chmod 4755 /made";
    await docker("run", "--name", "exported", busybox, "sh", "-c", script);
    try {
      expect((await docker("diff", "exported")).split("\n").sort()).toEqual([
        "A /deep",
        "A /deep/er",
        "A /link",
        "A /made",
        "C /bin",
        "D /bin/tr",
      ]);
      const file = inDir("files.tar");
      await docker("export", "-o", file, "exported");
      const names = await tarNames(file);
      expect(names).toContain("made");
      expect(names).toContain("bin/sh");
      expect(names).not.toContain("bin/tr");
      const changes = ["--change", 'CMD ["/bin/sh", "-c", "cat /link; echo $WHO"]', "-c", "ENV WHO=imported"];
      const id = await docker("import", "-m", "from a tar", ...changes, file, "imported:1");
      expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await docker("run", "--rm", "imported:1")).toBe("mine\nimported");
      expect(await docker("history", "--format", "{{.Comment}}", "imported:1")).toBe("from a tar");
      const mode = await docker("run", "--rm", "imported:1", "stat", "-c", "%a", "/made");
      expect(mode).toBe("4755");
      await docker("rmi", "imported:1");
    } finally {
      await docker("rm", "-f", "exported");
    }
  });

  test("commit: what a running container has changed becomes a layer, with author, message and changes", async () => {
    const { busybox } = world();
    const script = "echo committed > /made; rm /bin/tr; sleep 100";
    await docker("run", "-d", "--name", "origin", "-e", "A=1", busybox, "sh", "-c", script);
    try {
      while ((await docker("diff", "origin")).split("\n").length < 3);
      const changes = ["-c", "ENV B=2", "-c", "LABEL made=by-commit", "--change", "CMD cat /made"];
      const id = await docker(
        "commit",
        "-a",
        "A. Author <a@example.org>",
        "-m",
        "why",
        ...changes,
        "origin",
        "me/made:1",
      );
      const [image] = JSON.parse(await docker("image", "inspect", "me/made:1")) as [
        Record<string, unknown> & { Config: { Env: string[] }; RootFS: { Layers: string[] } },
      ];
      expect(image).toMatchObject({ Id: id, Author: "A. Author <a@example.org>", Comment: "why" });
      expect(image.Config.Env).toEqual(expect.arrayContaining(["A=1", "B=2"]));
      expect(image.RootFS.Layers).toHaveLength(2);
      expect(await docker("images", "-q", "--no-trunc", "-f", "label=made=by-commit")).toBe(id);
      expect(await docker("run", "--rm", "me/made:1")).toBe("committed");
      expect((await attempt("run", "--rm", "me/made:1", "/bin/tr", "a", "b")).status).toBe(127);
      // Nothing but that is in the layer.
      const file = inDir("committed.tar");
      await docker("save", "-o", file, "me/made:1");
      const [{ Layers = [] } = {}] = JSON.parse(await tarFile(file, "manifest.json")) as {
        Layers?: string[];
      }[];
      await output(["tar", "-xf", file, "-C", dir.path, Layers[1] ?? ""]);
      expect(await tarNames(inDir(Layers[1] ?? ""))).toEqual(["bin/", "bin/.wh.tr", "made"]);
      expect(await docker("inspect", "-f", "{{.State.Status}}", "origin")).toBe("running");
      const refused = await attempt("commit", "-c", "RUN make", "origin");
      expect(refused.stderr).toMatch(/run is not a valid change command/i);
    } finally {
      await docker("rm", "-f", "origin");
      await attempt("rmi", "me/made:1");
    }
  });

  test("container prune gives back what containers have changed, image prune what no other image has", async () => {
    const { busybox } = world();
    const write = (mb: number) => ["dd", "if=/dev/zero", "of=/big", "bs=1M", `count=${mb}`];
    for (const [name, mb] of Object.entries({ one: 3, two: 2 })) {
      await docker("run", "--name", `pruned-${name}`, busybox, ...write(mb));
      await docker("commit", "-c", "LABEL pruned=1", `pruned-${name}`, `pruned:${name}`);
    }
    const bytesOf = async (path: string) => {
      const answer = await fetch(`http://docker${path}`, {
        unix: world().engine.suite.paths.dockerSocket,
        ...(path.includes("prune") && { method: "POST" }),
      });
      return (await answer.json()) as Record<string, never>;
    };
    const mb = (bytes: number) => Math.round(bytes / 1e5) / 10;
    try {
      const { Images = [], LayersSize } = (await bytesOf("/system/df")) as {
        Images?: { RepoTags: string[]; Size: number; SharedSize: number; Containers: number }[];
        LayersSize?: number;
      };
      const of = (tag: string) => Images.find(({ RepoTags }) => RepoTags.includes(tag));
      const base = of(busybox)?.Size ?? 0;
      expect(of(busybox)).toMatchObject({ SharedSize: base, Containers: 2 });
      expect(of("pruned:one")).toMatchObject({ SharedSize: base, Containers: 0 });
      const own = (tag: string) => mb((of(tag)?.Size ?? 0) - base);
      expect([own("pruned:one"), own("pruned:two")]).toEqual([3.1, 2.1]);
      // Layers that images share count once.
      const unique = Images.reduce((sum, { Size, SharedSize }) => sum + Size - SharedSize, 0);
      expect(LayersSize).toBe(unique + base);

      const containers = await docker("container", "prune", "-f", "--filter", "label!=kept");
      expect(containers).toMatch(/Total reclaimed space: 5\.[23]\d*MB$/);
      expect(await docker("ps", "-aq")).toBe("");
      await docker("rmi", "pruned:two");
      const pruned = (await bytesOf(
        `/images/prune?filters=${encodeURIComponent('{"dangling":["true"]}')}`,
      )) as {
        SpaceReclaimed?: number;
      };
      expect(pruned.SpaceReclaimed).toBe(0);
      const images = await docker("image", "prune", "-af", "--filter", "label=pruned=1");
      expect(images).toContain("untagged: pruned:one");
      expect(images).toMatch(/Total reclaimed space: 3\.[12]\d*MB$/);
      expect(await docker("images", "-q", busybox)).not.toBe("");
    } finally {
      await attempt("rm", "-f", "pruned-one", "pruned-two");
      await attempt("rmi", "-f", "pruned:one", "pruned:two");
    }
  });

  test("images: each flag and filter", async () => {
    const { busybox, debian, registry } = world();
    const root = inDir("flagged.tar");
    expect(Bun.spawnSync(["tar", "-cf", root, "-C", "/etc", "hostname"]).exitCode).toBe(0);
    const id = await docker("import", "-c", "LABEL kind=flagged", root, "flagged/one:1");
    await docker("tag", "flagged/one:1", "flagged/one:2");
    const nameless = await docker("import", root);
    const list = async (...args: string[]) =>
      (await docker("images", ...args, "--format", "{{.Repository}}:{{.Tag}}"))
        .split("\n")
        .filter(Boolean)
        .sort();
    const mine = ["flagged/one:1", "flagged/one:2"];
    try {
      expect(await list()).toEqual([...mine, busybox, debian, "<none>:<none>"].sort());
      expect(await list("-f", "label=kind=flagged")).toEqual(mine);
      expect(await list("-f", "label=kind=other")).toEqual([]);
      expect(await list("-f", "dangling=true")).toEqual(["<none>:<none>"]);
      expect(await list("-f", "dangling=false")).toEqual([...mine, busybox, debian].sort());
      expect(await list("-f", `since=${busybox}`)).toContain("flagged/one:1");
      expect(await list("-f", `since=${busybox}`)).not.toContain(busybox);
      expect(await list("-f", "before=flagged/one:1")).toContain(busybox);
      expect(await list("-f", "before=flagged/one:1")).not.toContain("flagged/one:1");
      expect(await list("-f", "reference=flagged/*:2")).toEqual(["flagged/one:2"]);
      expect(await list("-f", "reference=flagged/*:[13]")).toEqual(["flagged/one:1"]);
      expect(await list("-f", `before=${nameless}`, "-f", `before=${busybox}`)).toEqual([]);
      expect(await list("-f", `reference=${registry}/base/*`)).toEqual([busybox, debian].sort());
      expect(await list("-f", "reference=one")).toEqual([]);
      expect(await list("flagged/one")).toEqual(mine);
      expect(await list("flagged/one:2")).toEqual(["flagged/one:2"]);
      const short = id.slice("sha256:".length).slice(0, 12);
      expect(await docker("images", "-q", "flagged/one:1")).toBe(short);
      expect(await docker("images", "-q", "--no-trunc", "flagged/one:1")).toBe(id);
      expect(await docker("images", "-a", "-q", "--no-trunc", "-f", "dangling=true")).toBe(nameless);
      const [header = "", row = ""] = (await docker("images", "--digests", busybox)).split("\n");
      expect(header).toMatch(/^REPOSITORY +TAG +DIGEST +IMAGE ID +CREATED +SIZE/);
      expect(row).toMatch(/ 1 +sha256:[0-9a-f]{64} +[0-9a-f]{12} /);
      expect((await docker("images", "--no-trunc", busybox)).split("\n")[1]).toMatch(/ sha256:[0-9a-f]{64} /);
      const none = await attempt("images", "-f", "colour=red");
      expect(none.status).toBe(1);
      expect(none.stderr).toContain("invalid filter 'colour'");
    } finally {
      await docker("rmi", "-f", id, nameless);
    }
  });

  test("system df, ps -s, image prune", async () => {
    const { busybox } = world();
    await docker("run", "--name", "sized", busybox, "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=3");
    try {
      expect(await docker("ps", "-as", "-f", "name=sized", "--format", "{{.Size}}")).toMatch(
        /^3\.1\dMB \(virtual /,
      );
      const df = await docker("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}");
      expect(df).toContain("Images 2 1\nContainers 1 0");
      expect(await docker("system", "df", "-v")).toContain("sized");
      // The same of answers of before API 1.52 and since.
      if (cli.ours) {
        const at = (DOCKER_API_VERSION: string, ...args: string[]) =>
          world()
            .docker(cli)
            .run(["system", "df", ...args], { env: { DOCKER_API_VERSION } });
        for (const args of [[], ["-v"]])
          expect((await at("1.55", ...args)).stdout).toBe((await at("1.51", ...args)).stdout);
      }
      const id = await docker("commit", "sized");
      expect(await docker("images", "-q", "--no-trunc", "-f", "dangling=true")).toBe(id);
      const pruned = await docker("image", "prune", "-f");
      expect(pruned).toContain(id);
      expect(pruned).toMatch(/Total reclaimed space: \d/);
      await docker("image", "prune", "-af", "--filter", "label=there-is-none");
      expect(await docker("images", "-q")).not.toBe("");
    } finally {
      await docker("rm", "-f", "sized");
    }
  });

  test("a name that moves leaves its old image nameless, and tagging it again gives it a name", async () => {
    const { busybox, debian } = world();
    await docker("tag", busybox, "moving:1");
    const created = await docker("create", busybox, "true");
    const id = await docker("commit", created, "moved:1");
    await docker("rm", created);
    await docker("tag", debian, "moved:1");
    expect(await docker("images", "-q", "--no-trunc", "-f", "dangling=true")).toBe(id);
    await docker("tag", id, "again:1");
    expect(await docker("images", "-q", "-f", "dangling=true")).toBe("");
    await docker("rmi", "moving:1", "moved:1", "again:1");
  });
});

/** Of a daemon, in MB. */
function peakMb(name: "dockerd" | "registry-client"): number {
  const status = fs.readFileSync(`/proc/${world().engine.suite.pid(name)}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1000;
}

test("the daemons' memory stays bounded when an image of 300 MB is imported, saved and loaded", async () => {
  using dir = tempDir();
  const [root, file, saved] = ["root", "root.tar", "saved.tar"].map((name) => path.join(dir.path, name));
  if (!root || !file || !saved) throw new Error("three names are three");
  fs.mkdirSync(root);
  const piece = crypto.randomBytes(3_000_000);
  for (let at = 0; at < 100; at++) {
    piece.writeUInt32LE(at);
    fs.appendFileSync(path.join(root, "large"), piece);
  }
  expect(Bun.spawnSync(["tar", "-cf", file, "-C", root, "."]).exitCode).toBe(0);
  const docker = world().docker();
  const id = await docker("import", file, "large:1");
  await docker("save", "-o", saved, "large:1");
  await docker("rmi", "large:1");
  await docker("load", "-q", "-i", saved);
  expect(await docker("images", "-q", "--no-trunc", "large:1")).toBe(id);
  await docker("rmi", "large:1");
  expect(peakMb("dockerd")).toBeLessThan(200);
  expect(peakMb("registry-client")).toBeLessThan(150);
}, 120_000);
