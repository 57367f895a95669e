import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const runc = process.env.LONGSHORE_RUNC ?? path.join(import.meta.dir, "../../../dist/bin/runc");
const missing = !fs.existsSync("/bin/busybox") || process.getuid?.() !== 0 || !fs.existsSync(runc);
if (missing) console.warn(`# skipped: runc tests need root, /bin/busybox and ${runc}`);

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "runc-chroot-"));
const bundle = path.join(dir, "bundle");
const chroot = path.join(dir, "chroot");
const state = path.join(dir, "state");
const log = path.join(dir, "log");
const mounted = path.join(dir, "mounted");
const seen = path.join(dir, "seen");

beforeAll(() => {
  for (const name of ["bin", "proc", "sys", "dev", "etc"])
    fs.mkdirSync(path.join(bundle, "rootfs", name), { recursive: true });
  fs.mkdirSync(chroot);
  fs.writeFileSync(mounted, "the host's");
  fs.writeFileSync(`${mounted}.chroot`, "the chroot's");
  if (missing) return;
  fs.copyFileSync("/bin/busybox", path.join(bundle, "rootfs/bin/busybox"));
  fs.writeFileSync(path.join(bundle, "rootfs/etc/only-inside"), "the container's own\n");
});

afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

test.skipIf(missing)(
  "exec enters the container's root, and hooks the engine's, not the host's, when the engine runs in a chroot",
  () => {
    Bun.spawnSync([runc, "spec", "--bundle", bundle]);
    const file = path.join(bundle, "config.json");
    const config = JSON.parse(fs.readFileSync(file, "utf8")) as {
      hooks?: unknown;
      process: { args: string[]; terminal: boolean };
      linux: { cgroupsPath?: string };
    };
    config.process.args = ["/bin/busybox", "sleep", "1000"];
    // createContainer sees the engine's root with the container's mounts: a file that is mounted in the chroot alone tells it from the host's.
    const hook = [{ path: "/bin/sh", args: ["sh", "-c", `cat ${mounted} >${seen}`] }];
    config.hooks = { createContainer: hook };
    config.process.terminal = false;
    config.linux.cgroupsPath = `/longshore-chroot-${process.pid}`;
    fs.writeFileSync(file, JSON.stringify(config));

    const engine = `${runc} --root ${state}`;
    const steps = `
    trap '${engine} delete --force c >>${log} 2>&1' EXIT
    ${engine} run --detach --bundle ${bundle} c </dev/null >${log} 2>&1 || { cat ${log}; exit 1; }
    ${engine} exec c /bin/busybox cat /etc/only-inside
    ${engine} exec c /bin/busybox pwd
    ${engine} exec c /bin/busybox ls -a /`;
    // The chroot is a mount of the whole machine: all that runc needs is there, and pivot_root turns only the chroot's mount round.
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      [
        "unshare",
        "--mount",
        "sh",
        "-c",
        `mount --rbind / ${chroot} && mount --bind ${mounted}.chroot ${chroot}${mounted} && exec chroot ${chroot} sh -c "$1"`,
        "sh",
        steps,
      ],
      { stdin: "ignore", timeout: 20_000 },
    );
    expect(`${stdout}${stderr}`.split("\n")).toEqual([
      "the container's own",
      "/",
      ...[".", "..", "bin", "dev", "etc", "proc", "sys"],
      "",
    ]);
    expect(exitCode).toBe(0);
    expect(fs.readFileSync(seen, "utf8")).toBe("the chroot's");
    expect(fs.readdirSync(state).filter((name) => name !== ".seccomp")).toEqual([]);
  },
);
