import { describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { clis, useWorld } from "./world.ts";

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
