import fs from "node:fs";
import { applyLayer } from "@longshore/archive";
import { EngineError, isErrno, toEngineError } from "@longshore/errors";
import { check, NR, prctl, syscall } from "@longshore/syscalls";
import type { AppliedLayer, ApplyJob, DiffAnswer, DiffJob } from "./diff-messages.ts";
import { withMounts } from "./temporary-mounts.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/**
 * The daemon's diff worker: a process of the same executable that unpacks and packs layers, so that the daemon's loop is not held up and
 * what comes out of a registry is parsed elsewhere. Reads jobs from stdin until it ends; gone when the daemon is.
 */
export async function runDiffWorker(): Promise<void> {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  process.umask(0);
  const lines = Bun.stdin.stream().pipeThrough(new TextDecoderStream());
  let pending = "";
  for await (const text of lines) {
    pending += text;
    for (let end = pending.indexOf("\n"); end !== -1; end = pending.indexOf("\n")) {
      const job = JSON.parse(pending.slice(0, end)) as DiffJob;
      pending = pending.slice(end + 1);
      await Bun.write(Bun.stdout, `${JSON.stringify(await answer(job))}\n`);
    }
  }
}

async function answer(job: DiffJob): Promise<DiffAnswer> {
  try {
    return { result: await apply(job) };
  } catch (error) {
    const { code, message } = isErrno(error, "ENOSPC", "EDQUOT")
      ? new EngineError("resource_exhausted", (error as Error).message)
      : toEngineError(error);
    return { error: { code, message } };
  }
}

async function apply({ file, compression, mounts, sync }: ApplyJob): Promise<AppliedLayer> {
  const unpack = async (root: string, lowers?: readonly string[]) => {
    const applied = await applyLayer(
      file,
      compression,
      root,
      lowers ? { whiteouts: "overlay", lowers } : { whiteouts: "remove" },
    );
    if (sync) syncFileSystem(root);
    return applied;
  };
  const [mount, ...others] = mounts;
  if (mount && others.length === 0) {
    // No mounting where the files can be put in place: quicker, and the parents' files stay out of reach.
    const upper = optionOf(mount.options, "upperdir");
    if (mount.type === "overlay" && upper !== undefined) {
      return unpack(upper, optionOf(mount.options, "lowerdir")?.split(":") ?? []);
    }
    if (mount.type === "bind" && !mount.options.includes("ro")) return unpack(mount.source);
  }
  return withMounts(mounts, (root) => unpack(root));
}

function optionOf(options: readonly string[], key: string): string | undefined {
  return options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
}

function syncFileSystem(dir: string): void {
  const fd = fs.openSync(dir, "r");
  try {
    check(syscall(NR.syncfs, fd), "syncfs", dir);
  } finally {
    fs.closeSync(fd);
  }
}
