import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { channelTo, createClient } from "@longshore/rpc";
import { type Registry, startRegistry } from "@longshore/testkit";
import { BOX_FILES, boxImage, writeArchive } from "./box-image.ts";
import { type Row, runTable, type Values } from "./ctr-table.ts";
import { Daemon, haveCtr } from "./daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
let registry: Registry | undefined;
const values: Values = {};
const tags = async (name: string) => (await fetch(`http://${values.host}/v2/${name}/tags/list`)).json();
const manifestOf = async (name: string, reference: string) => {
  const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
  return await fetch(`http://${values.host}/v2/${name}/manifests/${reference}`, { headers });
};
const content = async () => await daemon.out("content", "ls", "-q");
const inDir = (name: string) => path.join(daemon.dir.path, name);

/** What nothing refers to is not collected in the middle of a test. */
async function keep(...digests: string[]): Promise<void> {
  const channel = channelTo(daemon.address);
  const leases = createClient(channel, LeasesDefinition, {
    metadata: { "containerd-namespace": daemon.namespace },
  });
  await leases.create({ id: "test", labels: {} });
  for (const id of digests) await leases.addResource({ id: "test", resource: { type: "content", id } });
  channel.close();
}

/** In this order: each finds what those before it left. */
const IMAGES: Row[] = [
  { ctr: "images ls -q", out: "" },
  {
    ctr: "images pull --plain-http --label from=registry {host}/box:v1",
    out: /unpacking linux\/amd64 {manifest}/,
  },
  {
    ctr: "images ls",
    out: /{host}\/box:v1 +application\/vnd\.oci\S+ {manifest} .* linux\/amd64 +from=registry/,
  },
  { ctr: "images ls -q labels.from==registry", out: "{host}/box:v1\n" },
  { ctr: "images ls -q name~=nothing", out: "" },
  { ctr: "images check", out: /complete \(3\/3\).* true/ },
  { ctr: "images pull --plain-http --all-platforms {host}/box:v1", out: /done/ },
  { ctr: "images pull --plain-http {host}/nothing:v1", fails: /not found/ },
  { ctr: "images pull --plain-http --snapshotter none {host}/box:v1", fails: /snapshotter not loaded: none/ },
  { ctr: "images import --base-name example.test/box {archive}", out: /unpacking example.test\/box:v1/ },
  {
    ctr: "images import --base-name example.test/digest --digests --skip-digest-for-named {archive}",
    out: /unpacking example.test\/digest:v1/,
  },
  { ctr: "images import --no-unpack --index-name example.test/index:1 --base-name example.test/x {archive}" },
  { ctr: "images ls -q name==example.test/index:1", out: "example.test/index:1\n" },
  { ctr: "images import {missing}", fails: /no such file/ },
  { ctr: "images tag {host}/box:v1 example.test/tagged:1", out: "example.test/tagged:1\n" },
  { ctr: "images tag {host}/box:v1 example.test/tagged:1", fails: /already exists/ },
  { ctr: "images tag --force {host}/box:v1 example.test/tagged:1", out: "example.test/tagged:1\n" },
  { ctr: "images tag example.test/none:1 example.test/none:2", fails: /not found/ },
  { ctr: "images label example.test/tagged:1 colour=blue", out: /colour=blue/ },
  { ctr: "images label --replace-all example.test/tagged:1 shape=round", out: "shape=round\n" },
  {
    ctr: "images label example.test/tagged:1 shape=",
    effect: async () => {
      expect(await daemon.out("images", "ls", "name==example.test/tagged:1")).not.toContain("shape");
    },
  },
  {
    ctr: "images export {dir}/out.tar example.test/tagged:1",
    effect: () => {
      const names = execFileSync("tar", ["tf", inDir("out.tar")]).toString();
      expect(names).toContain("manifest.json");
      expect(names).toContain(`blobs/${values.layer?.replace(":", "/")}`);
    },
  },
  { ctr: "images export {dir}/none.tar example.test/none:1", fails: /not found/ },
  {
    ctr: "images convert --uncompress example.test/tagged:1 example.test/plain:1",
    out: /^(?<plain>sha256:\S+)\n/,
    effect: async () =>
      expect(await daemon.out("content", "get", values.plain ?? "")).toContain('layer.v1.tar"'),
  },
  { ctr: "images pull --plain-http {host}/docker:v1", out: /done/ },
  {
    ctr: "images convert --oci {host}/docker:v1 example.test/oci:1",
    effect: async () =>
      expect(await daemon.out("images", "ls", "name==example.test/oci:1")).toContain(
        "vnd.oci.image.manifest",
      ),
  },
  {
    ctr: "images push --plain-http {host}/pushed:v2 example.test/plain:1",
    effect: async () => {
      expect(await tags("pushed")).toEqual({ name: "pushed", tags: ["v2"] });
      expect((await manifestOf("pushed", "v2")).headers.get("docker-content-digest")).toBe(
        values.plain ?? "",
      );
    },
  },
  { ctr: "images push --plain-http {host}/pushed:v4 example.test/none:1", fails: /not found/ },
  {
    ctr: "images mount --rw example.test/tagged:1 {mountpoint}",
    out: /{chain}\n{mountpoint}/,
    effect: () => {
      expect(fs.readdirSync(values.mountpoint ?? "").sort()).toEqual(BOX_FILES);
      fs.writeFileSync(path.join(values.mountpoint ?? "", "new"), "");
    },
  },
  {
    ctr: "images unmount --rm {mountpoint}",
    out: "{mountpoint}\n",
    effect: () => {
      expect(fs.readdirSync(values.mountpoint ?? "")).toEqual([]);
    },
  },
  {
    ctr: "images mount example.test/tagged:1 {mountpoint}",
    effect: () =>
      expect(() => fs.writeFileSync(path.join(values.mountpoint ?? "", "new"), "")).toThrow("EROFS"),
  },
  { ctr: "images unmount --rm {mountpoint}", out: "{mountpoint}\n" },
  {
    ctr: "install example.test/tagged:1",
    effect: () => {
      const opt = path.join(daemon.root, "io.containerd.internal.v1.opt");
      expect(fs.statSync(path.join(opt, "bin/busybox")).mode & 0o111).toBe(0o111);
    },
  },
  { ctr: "install example.test/tagged:1", fails: /cannot replace/ },
  {
    ctr: "install --replace --path {dir}/programs example.test/tagged:1",
    effect: () => {
      expect(fs.existsSync(inDir("programs/bin/sh"))).toBe(true);
    },
  },
  {
    ctr: "images rm example.test/none:1",
    effect: ({ stderr }) => expect(stderr).toContain("image not found"),
  },
  {
    ctr: "images rm --sync example.test/plain:1",
    out: "example.test/plain:1\n",
    effect: async () => expect(await content()).not.toContain(values.plain ?? ""),
  },
];

const CONTENT: Row[] = [
  { ctr: "content ls -q", out: /{manifest}\n/ },
  { ctr: "content ls -q labels.none", out: "" },
  { ctr: "content ls digest=={layer}", out: /{layer}\t[\d.]+MB/ },
  { ctr: "content get {manifest}", out: /"layers":/ },
  {
    ctr: "content get sha256:0000000000000000000000000000000000000000000000000000000000000000",
    fails: /not found/,
  },
  { ctr: "content get rubbish", fails: /invalid checksum digest/ },
  { ctr: "content fetch-object --plain-http {host}/box:v1", out: /"schemaVersion":2/ },
  {
    ctr: "content fetch --plain-http --metadata-only {host}/other:v1",
    out: /done/,
    effect: async () => {
      expect(await content()).toContain(values.other ?? "");
    },
  },
  {
    ctr: "content fetch --plain-http --label x=y {host}/other:v1",
    out: /done/,
    effect: async () => {
      expect(await content()).toContain(values.otherLayer ?? "");
    },
  },
  {
    ctr: "content ingest --expected-digest {hello} --expected-size 6 ref-hello",
    stdin: "hello\n",
    effect: async () => {
      expect(await daemon.out("content", "get", values.hello ?? "")).toBe("hello");
    },
  },
  {
    ctr: "content ingest --expected-digest {absent} ref-wrong",
    stdin: "other\n",
    fails: /unexpected commit digest/,
  },
  {
    ctr: "content ingest --expected-size 20 ref-short",
    stdin: "too short\n",
    fails: /failed to read expected number of bytes/,
  },
  { ctr: "content active", out: /ref-short\t10B/ },
  { ctr: "content active ref~=none", out: /^REF\tSIZE\tAGE\s*$/ },
  { ctr: "content active ref==ref-short", out: /ref-short/ },
  { ctr: "content label {hello} colour=blue shape=round", out: /colour=blue/ },
  { ctr: "content label {hello} colour=", out: /shape=round/ },
  { ctr: "content ls digest=={hello}", out: /\tshape=round/ },
  { ctr: "content edit {hello}", env: { EDITOR: "sh -c 'echo edited > $0'" }, out: /^{edited}\n$/ },
  { ctr: "content get {edited}", out: "edited\n" },
  {
    ctr: "content push-object --plain-http {host}/objects:1 {edited} application/octet-stream",
    out: /Pushed {edited}/,
    effect: async () =>
      expect(await (await fetch(`http://${values.host}/v2/objects/blobs/${values.edited}`)).text()).toBe(
        "edited\n",
      ),
  },
  {
    ctr: "content rm {hello} {edited}",
    out: /{hello}\n{edited}\n/,
    effect: async () => {
      expect(await content()).not.toContain(values.hello ?? "");
    },
  },
  { ctr: "content rm {hello}", out: "" },
  {
    ctr: "content prune references",
    effect: async () =>
      expect(await daemon.out("content", "ls", `digest==${values.manifest}`)).not.toContain(
        "gc.ref.content.l.0",
      ),
  },
];

const SNAPSHOTS: Row[] = [
  { ctr: "snapshots ls", out: /^{chain} {lower} Committed/m },
  { ctr: "snapshots tree", out: / {lower}\n {2}\\_ {chain}/ },
  { ctr: "snapshots info {chain}", out: /"Parent": "{lower}"/ },
  { ctr: "snapshots usage", out: /{lower} +(1\.9|2\.\d) MiB/ },
  { ctr: "snapshots usage -b {chain}", out: /{chain} +\d{4,6} +\d/ },
  {
    ctr: "snapshots prepare --target /t work {chain}",
    out: /^mount -t overlay overlay \/t -o .*upperdir=(?<upper>\/\S+?),/,
  },
  { ctr: "snapshots prepare work {chain}", fails: /already exists/ },
  { ctr: "snapshots prepare other none", fails: /not found/ },
  {
    ctr: "snapshots mounts /t work",
    out: /upperdir={upper}/,
    effect: () => fs.writeFileSync(path.join(values.upper ?? "", "etc-new"), "n"),
  },
  { ctr: "snapshots view --target /t look {chain}", out: /lowerdir=/ },
  { ctr: "snapshots commit done look", fails: /is not active/ },
  {
    ctr: "snapshots commit done work",
    effect: async () => {
      const info = JSON.parse(await daemon.out("snapshots", "info", "done"));
      expect(info).toMatchObject({ Kind: "Committed", Parent: values.chain });
    },
  },
  { ctr: "snapshots rm {chain}", fails: /cannot remove snapshot with child/ },
  { ctr: "snapshots label done colour=blue", out: /colour=blue/ },
  {
    ctr: "snapshots label done colour=",
    effect: async () => {
      expect(JSON.parse(await daemon.out("snapshots", "info", "done")).Labels.colour).toBeUndefined();
    },
  },
  // The file in the layer, as tar has it.
  { ctr: "snapshots diff --media-type application/vnd.oci.image.layer.v1.tar done", out: /etc-new\0/ },
  {
    ctr: "snapshots diff --keep --label kept=yes --ref my-diff done {lower}",
    effect: async () =>
      expect(await daemon.out("content", "ls", "labels.kept==yes")).toContain("containerd.io/uncompressed"),
  },
  { ctr: "snapshots diff --media-type application/json done", fails: /unsupported diff media type/ },
  { ctr: "snapshots diff none", fails: /not found/ },
  {
    ctr: "snapshots rm look",
    effect: async () => expect(await daemon.out("snapshots", "ls")).not.toContain("look "),
  },
  { ctr: "snapshots unpack --snapshotter native {manifest}", out: /unpacking {manifest}/ },
  { ctr: "snapshots --snapshotter native ls", out: /^{chain} +{lower} +Committed/m },
  { ctr: "snapshots --snapshotter none ls", fails: /snapshotter not loaded: none/ },
];

const LEASES: Row[] = [
  { ctr: "leases create --id mine --expires 1h a=b", out: "mine\n" },
  { ctr: "leases create --id mine", fails: /already exists/ },
  { ctr: "leases create", out: /^(?<lease>\d+-\S+)\n/ },
  { ctr: "leases ls", out: /mine +\S+ +(a=b,)?containerd\.io\/gc\.expire=/ },
  { ctr: "leases ls -q id==mine", out: "mine\n" },
  { ctr: "leases ls -q", out: /^{lease}$/m },
  { ctr: "leases delete --sync mine {lease}", out: "mine\n{lease}\n" },
  { ctr: "leases delete mine", fails: /not found/ },
];

describe.skipIf(!haveCtr)("Debian's ctr", () => {
  beforeAll(async () => {
    daemon = await Daemon.start();
    const dir = daemon.dir.path;
    registry = await startRegistry(dir);
    const image = boxImage(dir);
    const [config, lower, upper] = image.blobs;
    const { rootfs } = JSON.parse(config?.bytes.toString() ?? "") as {
      rootfs: { diff_ids: [string, string] };
    };
    for (const name of ["mounted", "programs"]) fs.mkdirSync(inDir(name));
    const digestOf = (text: string) => `sha256:${new Bun.CryptoHasher("sha256").update(text).digest("hex")}`;
    const other = boxImage(inDir("other"), { version: "other" });
    Object.assign(values, {
      ...{
        dir,
        archive: writeArchive(image, dir, "v1"),
        missing: inDir("missing.tar"),
        mountpoint: inDir("mounted"),
      },
      host: registry?.host ?? "",
      manifest: image.manifest.digest,
      ...{ config: config?.digest, layer: lower?.digest, layer2: upper?.digest },
      lower: rootfs.diff_ids[0],
      chain: digestOf(rootfs.diff_ids.join(" ")),
      absent: digestOf("absent"),
      ...{ hello: digestOf("hello\n"), edited: digestOf("edited\n") },
      ...{ other: other.manifest.digest, otherLayer: other.blobs.at(-1)?.digest },
    });
    await keep(values.hello ?? "", values.edited ?? "");
    await registry?.push("box", "v1", image);
    await registry?.push("docker", "v1", boxImage(inDir("docker"), { format: "docker" }));
    await registry?.push("other", "v1", other);
  });
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
  });

  describe("images", () =>
    runTable(
      () => daemon,
      () => values,
      IMAGES,
    ));
  describe("snapshots", () =>
    runTable(
      () => daemon,
      () => values,
      SNAPSHOTS,
    ));
  describe("content", () =>
    runTable(
      () => daemon,
      () => values,
      CONTENT,
    ));
  describe("leases", () =>
    runTable(
      () => daemon,
      () => values,
      LEASES,
    ));
});
