import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { ours, useWorld } from "../world.ts";

const world = useWorld({ pull: ["attacker"] });

const NOBODY = 65_534;
/** A Perl program that prints the user id whose rights it has. */
const EFFECTIVE_UID = "print $>";

/**
 * Start a program as another user of the host.
 * @returns its output; an error's code when it can't be started
 */
function asNobody(...command: [string, ...string[]]): string {
  const [program, ...args] = command;
  const { error, stdout } = spawnSync(program, args, { uid: NOBODY, gid: NOBODY, encoding: "utf8" });
  return (error as NodeJS.ErrnoException | undefined)?.code ?? stdout.trim();
}

// CVE-2021-41091: a container makes a setuid file, and a user of the host starts it by its path.
test("no user of the host starts a setuid file of a volume, also after an upgrade", async () => {
  const docker = world().docker(ours);
  const { suite } = world().engine;
  const root = suite.paths.dockerdRoot;
  const parents = [path.dirname(root), path.dirname(path.dirname(root))];
  const modes = parents.map((parent) => fs.statSync(parent).mode & 0o7777);
  const inVolume = (...command: string[]) =>
    docker("run", "--rm", "-v", "setuid:/v", world().attacker, "/bin/busybox", ...command);
  await inVolume("sh", "-c", "cp /bin/perl /v/perl && chmod 4755 /v/perl");
  try {
    for (const parent of parents) fs.chmodSync(parent, 0o755);
    const file = path.join(await docker("volume", "inspect", "-f", "{{.Mountpoint}}", "setuid"), "perl");
    // As a former release left it: who knows the path becomes root.
    fs.chmodSync(root, 0o711);
    expect(asNobody(file, "-e", EFFECTIVE_UID)).toBe("0");
    expect(asNobody("/bin/stat", "-c", "%F", path.join(root, "volumes"))).toBe("directory");
    await suite.restart("dockerd");
    expect(fs.statSync(root).mode & 0o7777).toBe(0o710);
    expect(asNobody(file, "-e", EFFECTIVE_UID)).toBe("EACCES");
    for (const name of ["volumes", "containers"])
      expect(asNobody("/bin/stat", "-c", "%F", path.join(root, name))).toBe("");
    expect(await inVolume("stat", "-c", "%a", "/v/perl")).toBe("4755");
  } finally {
    parents.forEach((parent, at) => {
      fs.chmodSync(parent, modes[at] ?? 0o700);
    });
    await docker("volume", "rm", "-f", "setuid");
  }
});
