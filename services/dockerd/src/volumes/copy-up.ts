import fs from "node:fs";
import path from "node:path";
import { cleanPath, copyTree, RootedTree } from "@longshore/archive";
import { EngineError, isErrno } from "@longshore/errors";
import { volumeOptions } from "./volume-options.ts";
import { STAGE, type Volumes } from "./volumes.ts";

/**
 * Fill an empty volume with what an image has where the volume goes, and give it that directory's owner, mode, times and attributes.
 * Links in the image are followed within it.
 *
 * @param image root of the image's files
 * @throws EngineError `invalid_argument` where the image has a file
 */
export async function copyUp(
  volumes: Volumes,
  name: string,
  { image, destination, subpath }: { image: string; destination: string; subpath: string },
): Promise<void> {
  using tree = new RootedTree(image);
  const source = directoryIn(tree, destination);
  if (source === undefined) return;
  await volumes.locked(name, async () => {
    const target = volumes.mountpoint(name);
    const mounted = volumeOptions(volumes.find(name).options) !== undefined;
    if (subpath !== "" || mounted) {
      using root = new RootedTree(target);
      const place = root.directory(bytesOf(subpath));
      if (place === undefined) throw noSubpath(subpath);
      // Not all of it can be put there at once: it may be a file system of its own, or part of what is in use.
      const into = `/proc/self/fd/${place}`;
      if (fs.readdirSync(into).length === 0) await copyTree(source, into);
      return;
    }
    if (fs.readdirSync(target).length > 0) return;
    const stage = path.join(volumes.directory(name), STAGE);
    fs.rmSync(stage, { recursive: true, force: true });
    fs.mkdirSync(stage, { mode: 0o700 });
    try {
      await copyTree(source, stage);
      await putInPlace(volumes, name, stage, target);
    } finally {
      fs.rmSync(stage, { recursive: true, force: true });
    }
  });
}

/** All at once, so that a daemon that is killed leaves a volume either empty or full. */
async function putInPlace(volumes: Volumes, name: string, stage: string, target: string): Promise<void> {
  if (volumes.isInUse(name)) {
    // Whoever has it mounted sees this very directory.
    if (fs.readdirSync(target).length === 0) await copyTree(stage, target);
    return;
  }
  try {
    fs.renameSync(stage, target);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST")) throw error; // somebody was faster
  }
}

/** A directory of the image, to be opened; undefined when there is none. */
function directoryIn(tree: RootedTree, destination: string): string | undefined {
  try {
    const fd = tree.directory(bytesOf(destination));
    return fd === undefined ? undefined : `/proc/self/fd/${fd}`;
  } catch (error) {
    if (!isErrno(error, "ENOTDIR", "ELOOP")) throw error;
    throw new EngineError(
      "invalid_argument",
      `cannot mount volume over existing file, file exists ${destination}`,
      { cause: error },
    );
  }
}

export function noSubpath(subpath: string): EngineError {
  return new EngineError("not_found", `cannot access path ${subpath}: no such file or directory`);
}

/** A path as the kernel has it: bytes, relative to a root. */
export function bytesOf(file: string): string {
  return cleanPath(Buffer.from(file).toString("latin1"));
}
