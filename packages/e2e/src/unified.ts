import fs from "node:fs";
import { type CommandOptions, type CommandResult, run, tempDir } from "@longshore/testkit";

const UNIFIED = "/sys/fs/cgroup/unified";

/** Version 1 controllers, and version 2 beside them. */
export const isHybrid = fs.existsSync(`${UNIFIED}/cgroup.controllers`);

/** The version 2 hierarchy in place of all others: `$1` is an empty directory, the rest a command. */
const ENTER = `
  set -e
  mount --bind ${UNIFIED} "$1"
  umount --recursive --lazy /sys/fs/cgroup
  mount --move "$1" /sys/fs/cgroup
  shift
  exec "$@"`;

/** Run a command, on a machine with hybrid hierarchies, where version 2 is all that it sees of the machine's cgroups. */
export async function runUnified(argv: string[], options: CommandOptions): Promise<CommandResult> {
  using dir = tempDir();
  return await run(["unshare", "--mount", "sh", "-c", ENTER, "sh", dir.path, ...argv], options);
}
