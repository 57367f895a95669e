import fs from "node:fs";
import { applyLayer } from "@longshore/archive";
import { EngineError, isErrno, toEngineError } from "@longshore/errors";
import { check, NR, prctl, receiveFds, syscall } from "@longshore/syscalls";
import { finishConfinement } from "./confine-unpacker.ts";
import type { DiffAnswer, LayerResult, UnpackJob } from "./diff-messages.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const PROGRESS_MS = 100;
/** The process has been started again with few rights. */
const CONFINED = "--confined";
const UNCONFINED = "--unconfined";

/** The socket over which the daemon sends each job's descriptors. */
const DESCRIPTORS = 3;

/**
 * Unpack layers, in a process of the same executable that has confined itself before it reads anything: what comes out of a registry is
 * decompressed and parsed here. Reads jobs from stdin until it ends; gone when the daemon is. Where confinement is not to be had, each job is
 * refused.
 *
 * @param argument `--unconfined`: the configuration says to do without
 * @param refusal why the process has kept its rights, when the argument does not say that it has given them up
 */
export async function runUnpackWorker(argument: string | undefined, refusal: unknown): Promise<void> {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  process.umask(0);
  const refused =
    argument === UNCONFINED ? undefined : tryToConfine(argument === CONFINED ? undefined : refusal);
  const lines = Bun.stdin.stream().pipeThrough(new TextDecoderStream());
  let pending = "";
  for await (const text of lines) {
    pending += text;
    for (let end = pending.indexOf("\n"); end !== -1; end = pending.indexOf("\n")) {
      const job = JSON.parse(pending.slice(0, end)) as UnpackJob;
      pending = pending.slice(end + 1);
      await Bun.write(Bun.stdout, `${JSON.stringify(await answer(job, refused))}\n`);
    }
  }
}

function tryToConfine(refusal: unknown): EngineError | undefined {
  try {
    if (refusal !== undefined) throw refusal;
    finishConfinement();
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return new EngineError(
      "internal",
      `layers can't be unpacked in a confined process here (${reason}); confine_unpack = false of io.containerd.differ.v1.walking does without`,
    );
  }
}

async function answer(job: UnpackJob, refused: EngineError | undefined): Promise<DiffAnswer> {
  const descriptors: number[] = [];
  try {
    while (descriptors.length < job.descriptors) {
      const { data, fds } = receiveFds(DESCRIPTORS) ?? { data: Buffer.alloc(0), fds: [] };
      if (data.length === 0) throw new Error("the daemon has sent no descriptors");
      descriptors.push(...fds);
    }
    if (refused) throw refused;
    return { result: await unpack(job, descriptors) };
  } catch (error) {
    const { code, message } = isErrno(error, "ENOSPC", "EDQUOT")
      ? new EngineError("resource_exhausted", (error as Error).message)
      : toEngineError(error);
    return { error: { code, message } };
  } finally {
    for (const fd of descriptors) fs.closeSync(fd);
  }
}

async function unpack(
  { compression, into, sync, limits, progress }: UnpackJob,
  descriptors: readonly number[],
): Promise<LayerResult> {
  const [file = "", root = "", ...lowers] = descriptors.map((fd) => `/proc/self/fd/${fd}`);
  const onRead = progress ? tellNowAndThen() : () => {};
  const applied = await applyLayer(
    file,
    compression,
    root,
    into === "directory"
      ? { whiteouts: "remove", limits, onRead }
      : { whiteouts: "overlay", lowers: into === "upper-apart" ? "later" : lowers, limits, onRead },
  );
  if (sync) syncFileSystem(root);
  return applied;
}

function tellNowAndThen(): (offset: number) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (offset) => {
    const now = performance.now();
    if (now - last < PROGRESS_MS) return;
    last = now;
    try {
      fs.writeSync(1, `${JSON.stringify({ offset } satisfies DiffAnswer)}\n`);
    } catch (error) {
      if (!isErrno(error, "EAGAIN")) throw error; // nobody has read the last ones yet
    }
  };
}

function syncFileSystem(directory: string): void {
  const fd = fs.openSync(directory, "r");
  try {
    check(syscall(NR.syncfs, fd), "syncfs", directory);
  } finally {
    fs.closeSync(fd);
  }
}
