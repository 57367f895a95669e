import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, realContainerd, realDockerd } from "@longshore/suite";
import { type Docker, type Engine, output, startEngine, tempDir } from "@longshore/testkit";
import { anyReal, ours, skipped, useWorld } from "./world.ts";

const world = useWorld({ pull: ["busybox", "debian"] });

let dir: ReturnType<typeof tempDir>;
beforeAll(() => {
  dir = tempDir();
});
afterAll(() => dir[Symbol.dispose]());

const inDir = (name: string) => path.join(dir.path, name);

async function imageId(docker: Docker, name: string): Promise<string> {
  return docker("image", "inspect", "-f", "{{.Id}}", name);
}

async function diffIds(docker: Docker, name: string): Promise<string> {
  return docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", name);
}

/** What `docker load` says that it has loaded. */
function loadedName(said: string): string {
  return /^Loaded image(?: ID)?: (\S+)$/m.exec(said)?.[1] ?? "";
}

/** The real engine, whole. */
async function realEngine(): Promise<Engine | undefined> {
  const [dockerd, containerd] = [realDockerd(), realContainerd()];
  if (!dockerd || !containerd || !anyReal) return undefined;
  return startEngine({
    binDir: path.dirname(ours.path),
    cli: anyReal,
    bridgeFirst: true,
    without: ["registry-client"],
    components: { dockerd, containerd },
  });
}

describe.skipIf(!anyReal || !findExecutable("skopeo"))("archives of other tools", () => {
  const docker = (...args: string[]) => world().docker()(...args);

  test("skopeo reads what save writes, and load reads what skopeo writes, with equal digests", async () => {
    const { debian } = world();
    const id = await imageId(world().docker(), debian);
    const file = inDir("ours.tar");
    await docker("save", "-o", file, debian);
    const manifest = /@(sha256:[0-9a-f]{64})/.exec(
      await docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", debian),
    )?.[1];
    const inspected = await output(["skopeo", "inspect", "--format", "{{.Digest}}", `oci-archive:${file}`]);
    expect(inspected).toBe(manifest ?? "");
    for (const format of ["docker-archive", "oci-archive"]) {
      const other = inDir(`${format}.tar`);
      fs.rmSync(other, { force: true });
      const copy = ["skopeo", "--insecure-policy", "copy", `oci-archive:${file}`];
      await output([...copy, `${format}:${other}:from-skopeo:${format}`]);
      expect(await docker("load", "-i", other)).toContain(`Loaded image: from-skopeo:${format}`);
      expect(await docker("run", "--rm", `from-skopeo:${format}`, "cat", "/etc/motd")).toBe(
        "a Debian of packages",
      );
      // skopeo packs docker-archives anew, without compression: the config, and with it the id, stays.
      expect(await imageId(world().docker(), `from-skopeo:${format}`)).toBe(id);
      await docker("rmi", `from-skopeo:${format}`);
    }
    await output(["skopeo", "--insecure-policy", "copy", `docker-archive:${file}`, `dir:${inDir("plain")}`]);
    expect(fs.readdirSync(inDir("plain"))).toContain(id.slice("sha256:".length));
  });

  test.skipIf(!findExecutable("umoci"))("umoci unpacks what save writes", async () => {
    const { busybox } = world();
    const layout = inDir("layout");
    await docker("save", "-o", inDir("umoci.tar"), busybox);
    fs.mkdirSync(layout);
    await output(["tar", "-xf", inDir("umoci.tar"), "-C", layout]);
    await output(["umoci", "unpack", "--image", `${layout}:1`, inDir("bundle")]);
    expect(fs.existsSync(inDir("bundle/rootfs/bin/sh"))).toBe(true);
  });

  test("real Docker loads what save writes, and load reads what real Docker saves, with equal ids", async () => {
    await using real = await realEngine();
    if (!real || !anyReal) return skipped("no real dockerd is installed");
    const theirs = real.docker(anyReal);
    const { debian } = world();
    const id = await imageId(world().docker(), debian);
    await docker("save", "-o", inDir("to-real.tar"), debian);
    expect(await theirs("load", "-i", inDir("to-real.tar"))).toContain(`Loaded image: ${debian}`);
    expect(await imageId(theirs, debian)).toBe(id);
    await theirs("tag", debian, "from-real:1");
    await theirs("save", "-o", inDir("from-real.tar"), "from-real:1");
    expect(await docker("load", "-i", inDir("from-real.tar"))).toContain("Loaded image: from-real:1");
    expect(await imageId(world().docker(), "from-real:1")).toBe(id);
    expect(await docker("run", "--rm", "from-real:1", "cat", "/etc/motd")).toBe("a Debian of packages");
    await docker("rmi", "from-real:1");
    await theirs("rmi", "-f", id);
  });

  test.skipIf(!findExecutable("umoci"))("load reads what umoci has added a layer to", async () => {
    const { busybox } = world();
    const layout = inDir("umoci-layout");
    await docker("save", "-o", inDir("for-umoci.tar"), busybox);
    fs.mkdirSync(layout);
    await output(["tar", "-xf", inDir("for-umoci.tar"), "-C", layout]);
    fs.writeFileSync(inDir("added"), "by umoci");
    await output([
      "umoci",
      "insert",
      "--image",
      `${layout}:1`,
      "--tag",
      "more",
      inDir("added"),
      "/etc/added",
    ]);
    await output([
      "umoci",
      "config",
      "--image",
      `${layout}:more`,
      "--config.cmd",
      "cat",
      "--config.cmd",
      "/etc/added",
    ]);
    await output(["umoci", "rm", "--image", `${layout}:1`]);
    await output(["umoci", "gc", "--layout", layout]);
    fs.rmSync(path.join(layout, "manifest.json"), { force: true });
    await output(["tar", "-cf", inDir("from-umoci.tar"), "-C", layout, "."]);
    const name = loadedName(await docker("load", "-i", inDir("from-umoci.tar")));
    const inspected = await output(["skopeo", "inspect", "--config", "--raw", `oci:${layout}:more`]);
    expect(JSON.parse(await diffIds(world().docker(), name))).toEqual(JSON.parse(inspected).rootfs.diff_ids);
    expect(await docker("run", "--rm", name)).toBe("by umoci");
    await docker("rmi", name);
    // umoci has kept the name, which so has moved.
    await docker("load", "-i", inDir("for-umoci.tar"));
  });

  describe.skipIf(!findExecutable("buildah"))("buildah", () => {
    const buildah = (...args: string[]) => {
      const places = ["--root", inDir("buildah"), "--runroot", inDir("buildah-run")];
      return output(["buildah", "--storage-driver", "vfs", ...places, ...args], { timeoutMs: 60_000 });
    };

    test("pulls what save writes, and load reads what it pushes, with the same layers", async () => {
      const { debian } = world();
      const id = await imageId(world().docker(), debian);
      const layers = await diffIds(world().docker(), debian);
      for (const [format, file] of [
        ["oci-archive", inDir("to-buildah.tar")],
        ["docker-archive", inDir("to-buildah-docker.tar")],
      ] as const) {
        await docker("save", "-o", file, debian);
        const pulled = await buildah("pull", "-q", `${format}:${file}`);
        expect(`sha256:${pulled}`).toBe(id);
        const back = inDir(`from-buildah-${format}.tar`);
        const options = format === "docker-archive" ? ["--format", "v2s2"] : ["--format", "oci"];
        await buildah("push", "-q", ...options, pulled, `${format}:${back}:from-buildah:${format}`);
        const name = loadedName(await docker("load", "-i", back));
        expect(name).toBe(`from-buildah:${format}`);
        expect(await diffIds(world().docker(), name)).toBe(layers);
        expect(await docker("run", "--rm", name, "cat", "/etc/motd")).toBe("a Debian of packages");
        await docker("rmi", name);
        await buildah("rmi", "-f", pulled);
      }
    });

    test("load reads what it builds, with the same id", async () => {
      const { busybox } = world();
      await docker("save", "-o", inDir("base.tar"), busybox);
      const base = await buildah("pull", "-q", `oci-archive:${inDir("base.tar")}`);
      const container = await buildah("from", base);
      fs.writeFileSync(inDir("made"), "by buildah");
      await buildah("copy", container, inDir("made"), "/srv/made");
      await buildah("config", "--cmd", "cat /srv/made", "--label", "made-by=buildah", container);
      const id = await buildah("commit", "-q", container, "built:1");
      for (const format of ["oci-archive", "docker-archive"]) {
        const file = inDir(`built-${format}.tar`);
        await buildah("push", "-q", id, `${format}:${file}:built:${format}`);
        const name = loadedName(await docker("load", "-i", file));
        expect(await docker("run", "--rm", name)).toBe("by buildah");
        expect(await docker("image", "inspect", "-f", "{{.Config.Labels}}", name)).toContain(
          "made-by:buildah",
        );
        if (format === "oci-archive") expect(await imageId(world().docker(), name)).toBe(`sha256:${id}`);
        await docker("rmi", name);
      }
    });
  });
});
