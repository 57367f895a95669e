import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = "/sys/fs/cgroup";

/** For processes that were killed to be gone. */
const ATTEMPTS = 40;
const ATTEMPT_MS = 50;

/** Remove a cgroup with all below it, of cgroup v2 or of each hierarchy of v1. */
export async function removeCgroups(parent: string): Promise<void> {
  const hierarchies = [ROOT, ...fs.readdirSync(ROOT).map((name) => path.join(ROOT, name))];
  for (const hierarchy of hierarchies) await removeTree(path.join(hierarchy, parent));
}

async function removeTree(dir: string): Promise<void> {
  if (!fs.existsSync(dir)) return;
  for (const entry of fs.readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(path.join(dir, entry.name));
  for (let attempt = 1; ; attempt++) {
    try {
      fs.rmdirSync(dir);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await delay(ATTEMPT_MS);
    }
  }
}
