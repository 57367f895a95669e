import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";
import { boxImage, writeArchive } from "./box-image.ts";
import { type Row, runTable, type Values } from "./ctr-table.ts";
import { Daemon, haveCtr, SHIMS } from "./daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
const values: Values = {};
const info = async (id: string) => JSON.parse(await daemon.out("containers", "info", id));
const specOf = async (id: string) => JSON.parse(await daemon.out("containers", "info", "--spec", id));
const sh = (script: string) => ["/bin/sh", "-c", script];

const DAEMON: Row[] = [
  { ctr: "version", out: /Server:\n {2}Version: {2}\S+\n {2}Revision: \S*\n {2}UUID: [0-9a-f-]{36}/ },
  { ctr: "plugins ls", out: /io\.containerd\.snapshotter\.v1 +native +linux\/amd64 +ok/ },
  { ctr: "plugins ls -q", out: /^tasks$/m },
  {
    ctr: "plugins ls -d id==scheduler",
    out: /Type: +io\.containerd\.gc\.v1\nID: +scheduler\nRequires:\s+io\.containerd\.metadata\.v1/,
  },
  { ctr: "plugins ls -q type==io.containerd.differ.v1", out: "walking\n" },
  { ctr: "plugins ls -q id~=[", out: "" },
  { ctr: "oci spec", out: /"ociVersion"/ },
  { ctr: "namespaces create table-ns colour=blue", out: "" },
  { ctr: "namespaces create table-ns", fails: /already exists/ },
  { ctr: "namespaces create ../x", fails: /must match/ },
  { ctr: "namespaces ls", out: /table-ns +colour=blue/ },
  { ctr: "namespaces ls -q", out: /^table-ns$/m },
  { ctr: "namespaces label table-ns colour= shape=round", out: "" },
  { ctr: "namespaces ls", out: /table-ns +shape=round/ },
  { ctr: "namespaces rm {namespace}", fails: /must be empty, but it still has images, blobs/ },
  { ctr: "namespaces rm table-ns", out: "table-ns\n" },
  { ctr: "namespaces ls -q", effect: ({ stdout }) => expect(stdout).not.toContain("table-ns") },
];

const CONTAINERS: Row[] = [
  {
    ctr: "containers create --label a=1 --annotation note=read --env E=1 --cwd /etc {image} c1",
    words: ["true"],
    effect: async () => {
      expect(await info("c1")).toMatchObject({
        Image: values.image,
        Labels: { a: "1" },
        Snapshotter: "overlayfs",
      });
      expect(await specOf("c1")).toMatchObject({ annotations: { note: "read" }, process: { cwd: "/etc" } });
    },
  },
  {
    ctr: "containers create {image} c1",
    fails: /snapshot "c1": already exists|container "c1": already exists/,
  },
  { ctr: "containers create {image} bad/id", fails: /must match/ },
  { ctr: "containers create example.test/none:1 c2", fails: /not found/ },
  { ctr: "containers create --snapshotter native --runtime {runtime} {image} c2" },
  { ctr: "containers ls", out: /^c1 +{image} +io\.containerd\.runc\.v2 *\nc2 +{image}/m },
  { ctr: "containers ls -q labels.a==1", out: "c1\n" },
  { ctr: "containers ls -q image=={image},id~=2", out: "c2\n" },
  { ctr: "containers ls -q runtime.name==io.containerd.runc.v2", out: "c1\n" },
  { ctr: 'containers ls -q labels."a"!=1', out: "c2\n" },
  { ctr: 'containers ls -q labels."a==1', fails: /filters: parse error/ },
  { ctr: "containers label c1 a= b=2", out: /b=2/ },
  { ctr: "containers info c1", out: /"ID": "c1"/ },
  { ctr: "containers info none", fails: /not found/ },
  // No process, so nothing that would need CRIU.
  { ctr: "containers checkpoint --rw --image c1 example.test/saved:1" },
  {
    ctr: "containers delete --keep-snapshot c1",
    effect: async () => {
      expect(await daemon.out("snapshots", "info", "c1")).toContain("Active");
    },
  },
  { ctr: "containers delete c1 c2", fails: /not found/ },
  { ctr: "containers ls -q", out: "" },
  { ctr: "snapshots rm c1" },
];

const RUNTIMES: Row[] = [
  {
    ctr: "run --rm --cgroup {cgroup}/r --runtime io.containerd.runc.v2 {image} r",
    words: sh("echo by name"),
    out: "by name\n",
  },
  {
    ctr: "run --rm --cgroup {cgroup}/r --runtime {runtime} {image} r",
    words: sh("echo by path"),
    out: "by path\n",
  },
  {
    ctr: "run --rm --runtime io.containerd.none.v7 {image} r",
    words: ["true"],
    fails:
      /runtime "io.containerd.none.v7" binary not installed "containerd-shim-none-v7": file does not exist/,
  },
  {
    ctr: "run --rm --runtime {dir}/no-shim {image} r",
    words: ["true"],
    fails: /invalid custom binary path: stat {dir}\/no-shim: no such file or directory/,
  },
  { ctr: "run --rm --runtime nonsense {image} r", words: ["true"], fails: /invalid runtime name nonsense/ },
  { ctr: "containers ls -q", out: "" },
];

describe.skipIf(!haveCtr)("Debian's ctr", () => {
  beforeAll(async () => {
    daemon = await Daemon.start();
    const dir = daemon.dir.path;
    const archive = writeArchive(boxImage(dir), dir, "v1");
    await daemon.out("images", "import", "--base-name", "example.test/box", archive);
    Object.assign(values, {
      ...{ dir, namespace: daemon.namespace, cgroup: daemon.cgroup },
      ...{ image: "example.test/box:v1", runtime: SHIMS[1].runtime },
    });
  });
  afterAll(async () => daemon[Symbol.asyncDispose]());
  const table = (rows: readonly Row[]) =>
    runTable(
      () => daemon,
      () => values,
      rows,
    );

  describe("daemon", () => table(DAEMON));
  describe("containers", () => table(CONTAINERS));
  describe("runtimes", () => table(RUNTIMES));
});
