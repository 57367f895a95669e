import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { ours, useWorld } from "../world.ts";

const world = useWorld({ pull: ["attacker"] });

const NOBODY = 65_534;
/** In Perl: print it. */
const EFFECTIVE_UID = "print $>";

/** What a program says that another user of the host starts; an error's code when it can't be started. */
function asNobody(...command: [string, ...string[]]): string {
  const [program, ...args] = command;
  const { error, stdout } = spawnSync(program, args, { uid: NOBODY, gid: NOBODY, encoding: "utf8" });
  return (error as NodeJS.ErrnoException | undefined)?.code ?? stdout.trim();
}

/** CVE-2021-41091: a container makes a setuid file, and a user of the host starts it by its path. */
test("no user of the host starts a setuid file of a volume, also in a data root that an older release made", async () => {
  const docker = world().docker(ours);
  const { suite } = world().engine;
  const root = suite.paths.dockerdRoot;
  const parents = [path.dirname(root), path.dirname(path.dirname(root))];
  const modes = parents.map((parent) => fs.statSync(parent).mode & 0o7777);
  const make = "cp /bin/perl /v/perl && chmod 4755 /v/perl";
  await docker("run", "--rm", "-v", "setuid:/v", world().attacker, "/bin/busybox", "sh", "-c", make);
  try {
    for (const parent of parents) fs.chmodSync(parent, 0o755);
    const file = path.join(await docker("volume", "inspect", "-f", "{{.Mountpoint}}", "setuid"), "perl");
    // As it was: who knows the path is root.
    fs.chmodSync(root, 0o711);
    expect(asNobody(file, "-e", EFFECTIVE_UID)).toBe("0");
    await suite.restart("dockerd");
    expect(fs.statSync(root).mode & 0o7777).toBe(0o710);
    expect(asNobody(file, "-e", EFFECTIVE_UID)).toBe("EACCES");
    for (const place of [root, path.join(root, "volumes"), path.join(root, "containers")])
      expect(asNobody("/bin/ls", place)).toBe("");
    const again = [
      "run",
      "--rm",
      "-v",
      "setuid:/v",
      world().attacker,
      "/bin/busybox",
      "stat",
      "-c",
      "%a",
      "/v/perl",
    ];
    expect(await docker(...again)).toBe("4755");
  } finally {
    parents.forEach((parent, at) => {
      fs.chmodSync(parent, modes[at] ?? 0o700);
    });
    await docker("volume", "rm", "-f", "setuid");
  }
});
