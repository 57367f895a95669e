import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { mknod, S_IFCHR } from "@longshore/syscalls";
import { eventually } from "@longshore/testkit";
import { boxImage, writeArchive } from "./box-image.ts";
import { type Row, runTable, type Values } from "./ctr-table.ts";
import { binDir, Daemon, haveCtr, present } from "./daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
const values: Values = {};
const inDir = (name: string) => path.join(daemon.dir.path, name);
const read = (name: string) => fs.readFileSync(inDir(name), "utf8");
const sh = (script: string) => ["/bin/sh", "-c", script];

/** A flag that sees what the machine's groups say of the container's own, in a hierarchy of version 1 or 2. */
const GROUPS = "--mount type=bind,src=/sys/fs/cgroup,dst=/cg,options=rbind:ro";
const groupFile = (controller: string, one: string, two: string) =>
  sh(
    `cat /cg/${controller}{cgroup}/t/${controller}.${one} 2>/dev/null || cat /cg{cgroup}/t/${controller}.${two}`,
  );

const RUN = "run --rm --cgroup {cgroup}/t";
/** Flag by flag, what it does to the container. */
/** The kernel makes no user namespace in a chroot. */
const hasUsers = spawnSync("unshare", ["--user", "true"]).status === 0;
if (!hasUsers) console.log("# skipped: ctr run --uidmap: user namespaces can't be made here");

const USERS: Row = {
  ctr: `${RUN} --uidmap 0:200000:65536 --gidmap 0:300000:65536 {image} r`,
  words: sh("cat /proc/self/uid_map /proc/self/gid_map; ls -ln /etc/version"),
  out: / 0 +200000 +65536\n +0 +300000 +65536\n.* 0 +0 /,
};

const FLAGS: Row[] = [
  { ctr: `${RUN} {image} r`, words: sh("cat /etc/version; exit 3"), out: "upper", status: 3 },
  { ctr: `${RUN} --env A=1 --env B= {image} r`, words: ["env"], out: /FROM=image\n(.*\n)*A=1\nB=\n/ },
  { ctr: `${RUN} --env-file {dir}/env {image} r`, words: ["env"], out: /^FILE=yes$/m },
  { ctr: `${RUN} --cwd /tmp {image} r`, words: ["pwd"], out: "/tmp\n" },
  {
    ctr: `${RUN} -t {image} r`,
    terminal: true,
    words: sh("tty; echo done"),
    out: /\/dev\/(pts\/0|console)\r+\ndone\r+\n/,
  },
  { ctr: `${RUN} --null-io {image} r`, words: sh("echo lost"), out: "" },
  { ctr: `${RUN} --read-only {image} r`, words: sh("touch /new || echo refused"), out: "refused\n" },
  {
    ctr: `${RUN} --mount type=bind,src={dir}/shared,dst=/mnt,options=rbind:ro {image} r`,
    words: sh("cat /mnt/file; touch /mnt/new || echo refused"),
    out: "shared\nrefused\n",
  },
  {
    ctr: `${RUN} --mount type=tmpfs,dst=/mnt,options=size=64k {image} r`,
    words: sh("grep ' /mnt ' /proc/mounts"),
    out: /size=64k/,
  },
  { ctr: `${RUN} --net-host {image} r`, words: ["ls", "-l", "/proc/self/ns/net"], out: /{hostnet}/ },
  {
    ctr: `${RUN} --with-ns network:/proc/{pid}/ns/net {image} r`,
    words: ["ls", "-l", "/proc/self/ns/net"],
    out: /{hostnet}/,
  },
  {
    ctr: `${RUN} {image} r`,
    words: sh("ls -l /proc/self/ns/net | grep -c -F '{hostnet}'"),
    out: "0\n",
    status: 1,
  },
  {
    ctr: `${RUN} --privileged {image} r`,
    words: sh("grep CapEff /proc/self/status"),
    out: /CapEff:\t{allcaps}/,
  },
  {
    ctr: `${RUN} --cap-drop CAP_CHOWN {image} r`,
    words: sh("grep CapBnd /proc/self/status"),
    out: "CapBnd:\t00000000a80425fa\n",
  },
  {
    ctr: `${RUN} --cap-add CAP_SYS_TIME {image} r`,
    words: sh("grep CapBnd /proc/self/status"),
    out: "CapBnd:\t00000000aa0425fb\n",
  },
  { ctr: `${RUN} --cap-add SYS_TIME {image} r`, fails: /capabilities must be specified with 'CAP_' prefix/ },
  { ctr: `${RUN} {image} r`, words: sh("grep NoNewPrivs /proc/self/status"), out: "NoNewPrivs:\t1\n" },
  {
    ctr: `${RUN} --allow-new-privs {image} r`,
    words: sh("grep NoNewPrivs /proc/self/status"),
    out: "NoNewPrivs:\t0\n",
  },
  { ctr: `${RUN} --seccomp {image} r`, words: sh("grep Seccomp: /proc/self/status"), out: "Seccomp:\t2\n" },
  {
    ctr: `${RUN} --seccomp --seccomp-profile {dir}/seccomp.json {image} r`,
    words: sh("touch /x && mkdir /y || echo refused"),
    out: "refused\n",
  },
  {
    ctr: `${RUN} ${GROUPS} --memory-limit 67108864 {image} r`,
    words: groupFile("memory", "limit_in_bytes", "max"),
    out: "67108864\n",
  },
  {
    ctr: `${RUN} ${GROUPS} --cpus 0.5 {image} r`,
    words: groupFile("cpu", "cfs_quota_us", "max"),
    out: /^50000( 100000)?\n$/,
  },
  {
    ctr: `${RUN} ${GROUPS} --cpu-quota 20000 --cpu-period 40000 {image} r`,
    words: groupFile("cpu", "cfs_period_us", "max"),
    out: /40000\n$/,
  },
  {
    ctr: `${RUN} ${GROUPS} --cpu-shares 512 {image} r`,
    words: groupFile("cpu", "shares", "weight"),
    out: /^(512|20|59)\n$/,
  },
  { ctr: `${RUN} --device {dir}/device {image} r`, words: sh("ls -l {dir}/device"), out: /^crw.* 1, +5 / },
  ...(hasUsers ? [USERS] : []),
  { ctr: `${RUN} --platform linux/amd64 {image} r`, words: ["true"] },
  {
    ctr: `${RUN} --snapshotter native {image} r`,
    words: sh("grep -c overlay /proc/mounts"),
    out: "0\n",
    status: 1,
  },
  { ctr: `${RUN} --snapshotter-label kept=no --label l=1 {image} r`, words: ["true"] },
  { ctr: `${RUN} --config {dir}/spec.json r`, out: "of the spec\n" },
  { ctr: `${RUN} --rootfs {rootfs} r`, words: sh("echo given"), out: "given\n" },
  { ctr: `${RUN} --no-pivot --rootfs {rootfs} r`, words: sh("echo moved"), out: "moved\n" },
  {
    ctr: `${RUN} --runc-binary {dir}/recorder {image} r`,
    words: ["true"],
    effect: () => expect(read("recorded")).toContain("create --bundle"),
  },
  {
    ctr: `${RUN} --runc-binary {dir}/recorder --runc-root {dir}/runc-root {image} r`,
    words: ["true"],
    effect: () => expect(read("recorded")).toContain(`--root ${inDir("runc-root")}/${daemon.namespace} `),
  },
  // Without a systemd the flag is all there is to see.
  {
    ctr: "run --rm --runc-binary {dir}/recorder --runc-systemd-cgroup --cgroup :ls:r {image} r",
    words: ["true"],
    ...(fs.existsSync("/run/systemd/system") ? {} : { fails: /systemd/ }),
    effect: () => expect(read("recorded")).toContain("--systemd-cgroup"),
  },
  { ctr: `${RUN} --runc-binary /no/such/runc {image} r`, words: ["true"], fails: /\/no\/such\/runc/ },
  { ctr: `${RUN} {image} r`, words: ["/no/such/command"], fails: /\/no\/such\/command/ },
  { ctr: `${RUN} --snapshotter none {image} r`, words: ["true"], fails: /snapshotter not loaded: none/ },
  { ctr: `${RUN} example.test/none:1 r`, words: ["true"], fails: /not found/ },
  { ctr: "run -d --rm {image} r", fails: /flags --detach and --rm cannot be specified together/ },
];

/** Put in runc's place, it writes down what the shim asks of runc. */
const recorder = () => `echo "$@" >> ${inDir("recorded")}\nexec ${path.join(binDir, "runc")} "$@"`;

describe.skipIf(!haveCtr)("Debian's ctr", () => {
  for (const shim of present) {
    describe(`run, with ${shim.name}`, () => {
      beforeAll(async () => {
        daemon = new Daemon({ shim });
        await daemon.start();
        const dir = daemon.dir.path;
        const archive = writeArchive(boxImage(dir), dir, "v1");
        await daemon.out("images", "import", "--base-name", "example.test/box", archive);
        fs.mkdirSync(inDir("shared"));
        fs.writeFileSync(inDir("shared/file"), "shared\n");
        fs.writeFileSync(inDir("env"), "FILE=yes\n");
        fs.writeFileSync(inDir("recorder"), `#!/bin/sh\n${recorder()}\n`, { mode: 0o755 });
        mknod(inDir("device"), S_IFCHR | 0o666, 0x105);
        const syscalls = [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }];
        fs.writeFileSync(
          inDir("seccomp.json"),
          JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls }),
        );
        const spec = JSON.parse(await daemon.out("oci", "spec"));
        spec.process = { ...spec.process, args: sh("echo of the spec"), terminal: false };
        spec.root = { path: daemon.rootfs };
        spec.linux.cgroupsPath = `${daemon.cgroup}/spec`;
        fs.writeFileSync(inDir("spec.json"), JSON.stringify(spec));
        const [, allcaps = ""] = /CapBnd:\t(\w+)/.exec(fs.readFileSync("/proc/self/status", "utf8")) ?? [];
        Object.assign(values, {
          ...{ dir, allcaps, cgroup: daemon.cgroup, rootfs: daemon.rootfs },
          image: "example.test/box:v1",
          pid: String(process.pid),
          hostnet: fs.readlinkSync("/proc/self/ns/net").replace(/[[\]]/g, "."),
        });
      });
      afterAll(async () => daemon[Symbol.asyncDispose]());

      runTable(
        () => daemon,
        () => values,
        FLAGS,
      );

      test("nothing is left", async () => {
        expect(await daemon.out("containers", "ls", "-q")).toBe("");
        expect(await daemon.out("snapshots", "ls")).not.toContain("Active");
        await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
      });
    });
  }
});
