import {
  type DiffOptions,
  diffTrees,
  diffUpperDirectory,
  hasRedirects,
  writeCompressed,
} from "@longshore/archive";
import { createHasher } from "@longshore/digest";
import { EngineError, isErrno, toEngineError } from "@longshore/errors";
import { prctl } from "@longshore/syscalls";
import type { CreateJob, DiffAnswer, LayerResult, MountMessage } from "./diff-messages.ts";
import { withMounts } from "./temporary-mounts.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/**
 * The daemon's diff worker: a process of the same executable that makes layers of files, so that the daemon's loop is not held up. Reads jobs from stdin until it ends; gone when the daemon is.
 */
export async function runDiffWorker(): Promise<void> {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  process.umask(0);
  const lines = Bun.stdin.stream().pipeThrough(new TextDecoderStream());
  let pending = "";
  for await (const text of lines) {
    pending += text;
    for (let end = pending.indexOf("\n"); end !== -1; end = pending.indexOf("\n")) {
      const job = JSON.parse(pending.slice(0, end)) as CreateJob;
      pending = pending.slice(end + 1);
      await Bun.write(Bun.stdout, `${JSON.stringify(await answer(job))}\n`);
    }
  }
}

async function answer(job: CreateJob): Promise<DiffAnswer> {
  try {
    return { result: await create(job) };
  } catch (error) {
    const { code, message } = isErrno(error, "ENOSPC", "EDQUOT")
      ? new EngineError("resource_exhausted", (error as Error).message)
      : toEngineError(error);
    return { error: { code, message } };
  }
}

async function create({
  lower,
  upper,
  compression,
  output,
  notAfterSeconds,
}: CreateJob): Promise<LayerResult> {
  const options: DiffOptions = notAfterSeconds === undefined ? {} : { notAfterSeconds };
  const pack = async (pieces: Iterable<Buffer>): Promise<LayerResult> => {
    const hasher = createHasher();
    let size = 0;
    const counted = function* () {
      for (const piece of pieces) {
        hasher.update(piece);
        size += piece.length;
        yield piece;
      }
    };
    await writeCompressed(output, compression, counted());
    return { digest: hasher.digest(), size };
  };
  const changes = ownChanges(lower, upper);
  if (changes !== undefined && !hasRedirects(changes)) return pack(diffUpperDirectory(changes, options));
  return withMounts(upper.map(readOnly), (above) => {
    if (lower.length === 0) return pack(diffTrees(undefined, above, options));
    return withMounts(lower.map(readOnly), (below) => pack(diffTrees(below, above, options)));
  });
}

/**
 * The directory that holds the difference already: upper is an overlay that stands on just what lower shows. It saves looking at every
 * file of both.
 */
function ownChanges(lower: readonly MountMessage[], upper: readonly MountMessage[]): string | undefined {
  const [above, below] = [upper[0], lower[0]];
  if (upper.length !== 1 || lower.length !== 1 || above?.type !== "overlay" || !below) return undefined;
  const base = below.type === "bind" ? below.source : optionOf(below.options, "lowerdir");
  const writable = optionOf(below.options, "upperdir") !== undefined;
  const same = !writable && base !== undefined && base === optionOf(above.options, "lowerdir");
  return same ? optionOf(above.options, "upperdir") : undefined;
}

/** The same to look at. An upper directory may be in use elsewhere, and only one overlay may write to it. */
function readOnly(mount: MountMessage): MountMessage {
  if (mount.type !== "overlay")
    return { ...mount, options: [...mount.options.filter((option) => option !== "rw"), "ro"] };
  const upper = optionOf(mount.options, "upperdir");
  if (upper === undefined) return mount;
  const lower = optionOf(mount.options, "lowerdir");
  const others = mount.options.filter((option) => !/^(upperdir|workdir|lowerdir)=/.test(option));
  return { ...mount, options: [...others, `lowerdir=${upper}:${lower}`] };
}

function optionOf(options: readonly string[], key: string): string | undefined {
  return options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
}
