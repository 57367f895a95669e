import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import {
  AT_FDCWD,
  close,
  fsconfigCreate,
  fsconfigOption,
  fsmount,
  fsopen,
  MOUNT_ATTR_RDONLY,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  openFile,
  openTree,
} from "@longshore/syscalls";

const OPEN_TREE_CLONE = 1;

/** Files of several layers as one tree, read-only. It is mounted nowhere: it goes with its descriptor, whatever ends this process. */
export class MergedView implements Disposable {
  readonly fd: number;

  /** @param layers directories, the uppermost first */
  constructor(layers: readonly string[]) {
    const [first = "/nonexistent"] = layers;
    this.fd = layers.length <= 1 ? openTree(AT_FDCWD, first, OPEN_TREE_CLONE | O_CLOEXEC) : overlay(layers);
  }

  /** By which the tree's root can be opened as long as this is open. */
  get path(): string {
    return `/proc/self/fd/${this.fd}`;
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}

function overlay(layers: readonly string[]): number {
  try {
    return makeOverlay((context) => {
      for (const layer of layers) fsconfigOption(context, "lowerdir+", layer);
    });
  } catch (error) {
    if (!isErrno(error, "EINVAL")) throw error;
    return overlayOfFds(layers);
  }
}

/** For kernels before 6.8, which take all layers in one string of at most 255 bytes: each by a descriptor's number. */
export function overlayOfFds(layers: readonly string[]): number {
  using fds = new DisposableStack();
  const names = layers.map((layer) => {
    const fd = openFile(layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fds.defer(() => close(fd));
    return `${fd}`;
  });
  // Relative to a directory of descriptors, so that some sixty layers fit.
  const before = process.cwd();
  process.chdir("/proc/self/fd");
  try {
    return makeOverlay((context) => fsconfigOption(context, "lowerdir", names.join(":")));
  } finally {
    process.chdir(before);
  }
}

function makeOverlay(configure: (context: number) => void): number {
  const context = fsopen("overlay");
  try {
    configure(context);
    fsconfigCreate(context);
    return fsmount(context, MOUNT_ATTR_RDONLY);
  } finally {
    fs.closeSync(context);
  }
}
