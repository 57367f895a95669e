import { describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { tarOf } from "@longshore/archive/testing";
import { blobOf, type LocalImage, makeImage, serveImages } from "@longshore/suite";
import { pushImage, run, tempDir } from "@longshore/testkit";
import { api } from "./engine-api.ts";
import { clis, machineBusybox, useWorld } from "./world.ts";

const world = useWorld({ pull: [], push: ["busybox", "debian"] });

/** Every blob of the content store, its content by its name. What nothing refers to may be collected just now. */
function blobs(): [string, Buffer][] {
  const dir = path.join(
    world().engine.suite.paths.containerdRoot,
    "io.containerd.content.v1.content/blobs/sha256",
  );
  return fs.readdirSync(dir).flatMap((name): [string, Buffer][] => {
    try {
      return [[name, fs.readFileSync(path.join(dir, name))]];
    } catch {
      return [];
    }
  });
}

describe.each(clis)("docker pull by $name", (cli) => {
  test("an image of three gzip layers arrives whole, and its layers lie over each other as they should", async () => {
    const docker = world().docker(cli);
    const pulled = await docker("pull", world().debian);
    expect(pulled).toMatch(/^Digest: sha256:[0-9a-f]{64}$/m);
    expect(pulled).toMatch(/^Status: (Downloaded newer image for|Image is up to date for) /m);
    const held = blobs();
    expect(held.length).toBeGreaterThanOrEqual(5);
    for (const [name, content] of held) {
      expect(crypto.createHash("sha256").update(content).digest("hex")).toBe(name);
    }
    const script =
      "cat /etc/motd; ls /srv/hidden; ls /etc/to-be-removed; echo layers $LAYERS; stat -c %U /etc/motd";
    const { stdout, stderr } = await docker.run(["run", "--rm", world().debian, "sh", "-c", script]);
    expect(stdout).toBe("a Debian of packages\nabove\nlayers 3\nroot\n");
    expect(stderr).toContain("/etc/to-be-removed");
  });

  test("a pull of what is there already says so, and images lists it once", async () => {
    const docker = world().docker(cli);
    await docker("pull", world().busybox);
    expect(await docker("pull", world().busybox)).toContain(
      `Status: Image is up to date for ${world().busybox}`,
    );
    const listed = (await docker("images")).split("\n").filter((line) => line.includes("/base/busybox "));
    expect(listed).toHaveLength(1);
  });
});

test("each layer became one overlayfs snapshot", () => {
  const { containerdRoot } = world().engine.suite.paths;
  const snapshots = path.join(containerdRoot, "io.containerd.snapshotter.v1.overlayfs/snapshots");
  expect(fs.readdirSync(snapshots)).toHaveLength(6); // and one for each image between it and its containers
});

test("run pulls what isn't there", async () => {
  const docker = world().docker();
  const other = world().busybox.replace(/:1$/, ":again");
  await world().push("base/busybox", "again", "busybox");
  const { status, stdout, stderr } = await docker.run(["run", "--rm", other, "echo", "pulled"]);
  expect({ status, stdout }).toEqual({ status: 0, stdout: "pulled\n" });
  expect(stderr).toContain(`Unable to find image '${other}' locally`);
});

interface Line {
  id?: string;
  status: string;
  progressDetail?: { current?: number; total?: number };
}

/** An image of five layers that can't be packed, more than a megabyte each. */
async function pushLarge(tag: string): Promise<string> {
  using dir = tempDir();
  const layers = Array.from({ length: 5 }, (_, index) => {
    const layer = path.join(dir.path, `layer${index}`);
    fs.mkdirSync(layer);
    fs.writeFileSync(path.join(layer, `file${index}`), crypto.randomBytes(1_500_000));
    return layer;
  });
  await pushImage(world().registry, "large", tag, makeImage({ layers, cmd: ["true"] }));
  return `${world().registry}/large:${tag}`;
}

test("each layer goes through Docker's steps in their order, with counts that move while it is fetched and unpacked", async () => {
  const image = await pushLarge("1");
  const [name = "", tag = ""] = image.split(/:(?=[^:]+$)/);
  const answer = await api(
    world(),
    "POST",
    `/v1.41/images/create?fromImage=${encodeURIComponent(name)}&tag=${tag}`,
  );
  const lines = answer.body
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line) as Line);
  expect(lines[0]).toEqual({ status: "Pulling from large", id: tag });
  expect(lines.at(-2)?.status).toMatch(/^Digest: sha256:[0-9a-f]{64}$/);
  expect(lines.at(-1)).toEqual({ status: `Status: Downloaded newer image for ${image}` });
  const ofLayers = lines.slice(1, -2);
  const ids = ofLayers.slice(0, 5).map(({ id }) => id);
  expect(new Set(ids).size).toBe(5);
  expect(ofLayers.slice(0, 5).every(({ status }) => status === "Pulling fs layer")).toBe(true);
  let waited = 0;
  for (const id of ids) {
    const own = ofLayers.filter((line) => line.id === id);
    const steps = own.map(({ status }) => status).filter((status, index, all) => status !== all[index - 1]);
    if (steps[1] === "Waiting") waited += steps.splice(1, 1).length;
    expect(steps).toEqual([
      "Pulling fs layer",
      "Downloading",
      "Verifying Checksum",
      "Download complete",
      "Extracting",
      "Pull complete",
    ]);
    for (const step of ["Downloading", "Extracting"]) {
      const counts = own
        .filter(({ status }) => status === step)
        .map(({ progressDetail }) => progressDetail ?? {});
      const total = counts[0]?.total ?? 0;
      expect(total).toBeGreaterThan(1_500_000);
      expect(counts.every((one) => one.total === total)).toBe(true);
      const currents = counts.map(({ current = 0 }) => current);
      expect(currents.toSorted((a, b) => a - b)).toEqual(currents);
      if (step === "Extracting") expect(currents.at(-1)).toBe(total);
      expect(currents[0]).toBeLessThan(total);
    }
  }
  expect(waited).toBeGreaterThanOrEqual(2); // three are fetched at once
  await world().docker()("rmi", image);
});

let large: string | undefined;

test.each(clis)("on a terminal $name draws bars of what is fetched and unpacked", async (cli) => {
  large ??= await pushLarge("terminal");
  const image = large;
  const { stdout } = await run(["sh", "-c", `stty cols 200; exec ${cli.path} pull ${image}`], {
    terminal: true,
    env: { DOCKER_HOST: world().engine.suite.dockerHost },
  });
  expect(stdout).toMatch(/[0-9a-f]{12}: Extracting +\[=*> *\] +[\d.]+[kM]?B\/1\.5\d*MB/);
  expect(stdout).toMatch(/[0-9a-f]{12}: Pull complete/);
  await world().docker()("rmi", image);
});

/** An image on busybox with layers of these types and packings; each brings a file. */
function packedImage(
  layers: readonly (readonly [type: string, pack: (tar: Buffer) => Buffer])[],
): LocalImage {
  const busybox = machineBusybox();
  const [baseConfig, base] = busybox.blobs;
  if (!baseConfig || !base) throw new Error("busybox has a config and a layer");
  const config = JSON.parse(baseConfig.bytes.toString());
  const manifest = JSON.parse(busybox.manifest.bytes.toString());
  const blobs = layers.map(([mediaType, pack], index) => {
    const tar = tarOf([{ name: `layer${index}`, content: mediaType }]);
    const blob = blobOf(pack(tar));
    config.rootfs.diff_ids.push(blobOf(tar).digest);
    manifest.layers.push({ mediaType, digest: blob.digest, size: blob.bytes.length });
    return blob;
  });
  const configBlob = blobOf(Buffer.from(JSON.stringify(config)));
  manifest.config = { ...manifest.config, digest: configBlob.digest, size: configBlob.bytes.length };
  return {
    manifest: {
      ...blobOf(Buffer.from(JSON.stringify(manifest))),
      mediaType: busybox.manifest.mediaType,
    },
    blobs: [configBlob, base, ...blobs],
  };
}

test("layers of every type and packing are unpacked, and pushed as they are; those not to be passed on are left out", async () => {
  const oci = "application/vnd.oci.image.layer";
  const docker = "application/vnd.docker.image.rootfs";
  const plain = (tar: Buffer) => tar;
  const image = packedImage([
    [`${oci}.v1.tar`, plain],
    [`${oci}.v1.tar+gzip`, (tar) => zlib.gzipSync(tar)],
    [`${oci}.v1.tar+zstd`, (tar) => zlib.zstdCompressSync(tar)],
    [`${docker}.diff.tar.gzip`, (tar) => zlib.gzipSync(tar)],
    [`${docker}.diff.tar.gzip`, (tar) => zlib.zstdCompressSync(tar)], // it doesn't always tell the truth
    [`${docker}.foreign.diff.tar.gzip`, (tar) => zlib.gzipSync(tar)],
    [`${oci}.nondistributable.v1.tar+zstd`, (tar) => zlib.zstdCompressSync(tar)],
  ]);
  const sent: string[] = [];
  await using server = await serveImages({
    images: { "packed:1": image },
    intercept(request, response) {
      const { method = "", url = "" } = request;
      if (!url.startsWith("/v2/target/")) return false;
      if (method === "HEAD") response.writeHead(404).end();
      else if (method === "POST") response.writeHead(202, { location: `${url}1` }).end();
      else {
        sent.push(url);
        const status = method === "PATCH" ? 202 : 201;
        request.resume().on("end", () => response.writeHead(status, { location: url }).end());
      }
      return true;
    },
  });
  const run = world().docker();
  const name = `${server.host}/packed:1`;
  await run("pull", "-q", name);
  const files = await run("run", "--rm", name, "sh", "-c", "ls / | grep -c layer; cat /layer2 /layer6");
  expect(files).toBe(`7\n${oci}.v1.tar+zstd${oci}.nondistributable.v1.tar+zstd`);
  const target = `${server.host}/target:1`;
  await run("tag", name, target);
  const pushed = await run("push", target);
  expect(pushed.match(/: Skipped foreign layer/g)).toHaveLength(2);
  const left = image.blobs.slice(-2).map(({ digest }) => digest);
  const there = sent.join("\n").replaceAll("%3A", ":");
  for (const { digest } of image.blobs) expect(there.includes(digest)).toBe(!left.includes(digest));
  expect(there).toContain("/v2/target/manifests/1");
  await run("rmi", name, target);
});
