import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { channelTo, createClient } from "@longshore/rpc";
import { BOX_FILES, boxImage, writeArchive } from "./box-image.ts";
import { Daemon, haveCtr, present } from "./daemon.ts";

setDefaultTimeout(60_000);

const snapshotter = "native";
const IMAGE = "example.test/box:native";

describe.skipIf(!haveCtr)("the native snapshotter", () => {
  let daemon: Daemon;
  beforeAll(async () => {
    daemon = await Daemon.start();
    const archive = writeArchive(boxImage(daemon.dir.path), daemon.dir.path, "native");
    await daemon.out(
      "images",
      "import",
      "--snapshotter",
      snapshotter,
      "--base-name",
      "example.test/box",
      archive,
    );
  });
  afterAll(async () => daemon[Symbol.asyncDispose]());

  const ctr = (...args: string[]) => daemon.out("snapshots", "--snapshotter", snapshotter, ...args);

  test("an image is unpacked layer by layer into whole copies, whiteouts carried out", async () => {
    const rows = (await ctr("ls")).split("\n").slice(1);
    expect(rows.map((row) => row.trim().split(/\s+/).at(-1))).toEqual(["Committed", "Committed"]);
    const [top = ""] = rows
      .filter((row) => /sha256:\S+ +sha256:/.test(row))
      .map((row) => row.split(" ")[0] ?? "");
    const mount = await ctr("view", "--target", "/t", "look", top);
    const [, source = ""] = /^mount -t bind (\S+) \/t -o ro,rbind$/.exec(mount) ?? [];
    expect(fs.readdirSync(source).sort()).toEqual(BOX_FILES);
    expect(fs.readFileSync(path.join(source, "etc/version"), "utf8")).toBe("upper");
    expect(fs.statSync(path.join(source, "bin/sh")).ino).toBe(
      fs.statSync(path.join(source, "bin/busybox")).ino,
    );
    await ctr("rm", "look");
  });

  for (const shim of present) {
    test(`ctr run --snapshotter native, with ${shim.name}`, async () => {
      const own = ["--runtime", shim.runtime, "--cgroup", `${daemon.cgroup}/n`, "--snapshotter", snapshotter];
      const command = ["/bin/sh", "-c", "cat /etc/version; echo changed > /etc/version; cat /etc/version"];
      for (const round of ["first", "second"]) {
        const ended = await daemon.ctr("run", "--rm", ...own, IMAGE, `n-${round}`, ...command);
        expect(ended).toEqual({ status: 0, stdout: "upperchanged\n", stderr: "" });
      }
      expect(await ctr("ls")).not.toContain("Active");
    });
  }

  test("a container's changes become a layer, and unpacked again are the same", async () => {
    // As any client does it: what nothing refers to yet may be collected at any time.
    await daemon.out("leases", "create", "--id", "changes");
    const metadata = { "containerd-namespace": daemon.namespace, "containerd-lease": "changes" };
    const channel = channelTo(daemon.address);
    const snapshots = createClient(channel, SnapshotsDefinition, { metadata });
    const diffs = createClient(channel, DiffDefinition, { metadata });
    const usage = (await ctr("usage")).split("\n").slice(1);
    const top =
      (await ctr("ls"))
        .split("\n")
        .find((row) => /sha256:\S+ +sha256:/.test(row))
        ?.split(" ")[0] ?? "";
    // Each is a whole copy.
    for (const row of usage) expect(row).toMatch(/[12]\.\d MiB/);
    const made = (key: string) => snapshots.prepare({ snapshotter, key, parent: top, labels: {} });
    const { mounts: right } = await made("changed");
    const changed = right[0]?.source ?? "";
    fs.rmSync(path.join(changed, "etc/passwd"));
    fs.writeFileSync(path.join(changed, "etc/new"), "new");
    const { mounts: left } = await snapshots.view({ snapshotter, key: "base", parent: top, labels: {} });
    const mediaType = "application/vnd.oci.image.layer.v1.tar+zstd";
    const request = { left, right, mediaType, ref: "", labels: {}, sourceDateEpoch: undefined };
    const { diff } = await diffs.diff(request);
    const { mounts } = await made("again");
    await diffs.apply({ diff, mounts, payloads: {}, syncFs: true });
    const files = (cwd: string) =>
      execFileSync("find", [".", "!", "-path", "./etc", "-printf", "%p %y %m %U %G %s %n %T@ %l\\n"], { cwd })
        .toString()
        .split("\n")
        .sort();
    expect(files(mounts[0]?.source ?? "")).toEqual(files(changed));
    for (const key of ["changed", "base", "again"]) await snapshots.remove({ snapshotter, key });
    channel.close();
    await daemon.out("leases", "rm", "--sync", "changes");
  });

  test("removing the image with --sync takes its snapshots away, files too", async () => {
    await daemon.out("images", "rm", "--sync", IMAGE);
    expect((await ctr("ls")).trim().split("\n")).toHaveLength(1);
  });
});
