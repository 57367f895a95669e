import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { clis, useWorld } from "../world.ts";
import { hostCanary } from "./host-canary.ts";

const world = useWorld({ pull: ["attacker"] });

/** Files that a program loads or starts when it works with archives, owners and names. */
const LURES = [
  "bin/tar",
  "bin/gzip",
  "bin/unpigz",
  "bin/sh",
  "bin/xz",
  "bin/zstd",
  "usr/bin/tar",
  "usr/bin/env",
];
const LIBRARIES = ["libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "libz.so.1"].map(
  (name) => `lib/x86_64-linux-gnu/${name}`,
);

/** CVE-2019-14271, CVE-2026-41567. */
test.each(clis.map((cli) => [cli.name, cli] as const))(
  "%s: cp, export and commit start no program and load no library of the container",
  async (_, cli) => {
    using canary = hostCanary();
    using dir = tempDir();
    const docker = world().docker(cli);
    const mark = path.join(canary.dir, "executed");
    const id = await docker("run", "-d", "--net=none", world().attacker, "/bin/busybox", "sleep", "1000");
    try {
      const lures = path.join(dir.path, "lures");
      for (const name of LURES) {
        fs.mkdirSync(path.dirname(path.join(lures, name)), { recursive: true });
        fs.writeFileSync(path.join(lures, name), `#!/bin/busybox touch ${mark}\n`, { mode: 0o755 });
      }
      for (const name of LIBRARIES) {
        fs.mkdirSync(path.dirname(path.join(lures, name)), { recursive: true });
        fs.writeFileSync(path.join(lures, name), "no library\n", { mode: 0o755 });
      }
      await docker("cp", `${lures}/.`, `${id}:/`);
      await docker("cp", `${id}:/etc`, path.join(dir.path, "out"));
      await docker("cp", path.join(dir.path, "out"), `${id}:/data/in`);
      await docker("export", "-o", path.join(dir.path, "export.tar"), id);
      const image = await docker("commit", id);
      await docker("rmi", image);
      expect(fs.existsSync(mark)).toBe(false);
      expect(canary.changes()).toEqual([]);
      for (const name of ["dockerd", "containerd"] as const) {
        const maps = fs.readFileSync(`/proc/${world().engine.suite.pid(name)}/maps`, "utf8");
        expect(maps.split("\n").filter((line) => /\/snapshots\/|\/rootfs\/|\/overlay2\//.test(line))).toEqual(
          [],
        );
      }
    } finally {
      await docker("rm", "-f", id);
    }
  },
);
