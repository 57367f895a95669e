import type { Mount } from "@longshore/api/containerd/types/mount";
import { type Place, RootedTree } from "@longshore/archive";
import { isErrno } from "@longshore/errors";
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "@longshore/syscalls";
import type { UserFiles } from "./user.ts";

const LINKS_MAX = 40;
const OPAQUE_XATTR = "trusted.overlay.opaque";
const FILE_LIMIT_BYTES = 4 * 1024 * 1024;

/** The directories of an unmounted overlay (or bind) root, uppermost first. */
export function layersOf(mounts: readonly Mount[]): string[] {
  const [mount] = mounts;
  if (!mount) return [];
  if (mount.type === "bind") return [mount.source];
  const value = (name: string) =>
    mount.options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  const upper = value("upperdir");
  const lower = value("lowerdir")?.split(":") ?? [];
  return upper === undefined ? lower : [upper, ...lower];
}

/** The files of a container that name its users and groups. */
export function readUserFiles(layers: readonly string[]): UserFiles {
  using root = new LayeredRoot(layers);
  return { passwd: root.readFile("/etc/passwd") ?? "", group: root.readFile("/etc/group") ?? "" };
}

/**
 * The text of a regular file as the container would see it.
 * @returns undefined when there is no such file, or it is larger than 4 MiB
 */
export function readLayeredFile(layers: readonly string[], file: string): string | undefined {
  using root = new LayeredRoot(layers);
  return root.readFile(file);
}

interface Found {
  tree: RootedTree;
  place: Place;
  type: number;
}

/**
 * The root of a container, read from its layers without mounting them. Links are followed inside the root, whatever they
 * say; whiteouts and opaque directories hide what is below them. The container may write in the uppermost layer meanwhile: no
 * path leads out of a layer, and nothing but a regular file is opened.
 */
class LayeredRoot implements Disposable {
  private readonly layers: readonly string[];
  /** Opened when they are needed: most files are in one of the upper layers. */
  private readonly trees: RootedTree[] = [];

  /** @param layers directories, the uppermost first */
  constructor(layers: readonly string[]) {
    this.layers = layers;
  }

  [Symbol.dispose](): void {
    for (const tree of this.trees) tree[Symbol.dispose]();
  }

  readFile(file: string): string | undefined {
    try {
      return this.read(file);
    } catch (error) {
      // Names that were exchanged meanwhile, or a file that a process of the container keeps by a lease.
      if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "EAGAIN", "EACCES")) return undefined;
      throw error;
    }
  }

  private read(file: string): string | undefined {
    const pending = parts(file);
    let inside: string[] = [];
    let links = 0;
    while (pending.length > 0) {
      const part = pending.shift() ?? "";
      if (part === "..") {
        inside = inside.slice(0, -1);
        continue;
      }
      const found = this.find([...inside, part]);
      if (!found) return undefined;
      if (found.type === S_IFLNK) {
        const target = found.tree.readlink(found.place);
        if (target === undefined || ++links > LINKS_MAX) return undefined;
        if (target.startsWith("/")) inside = [];
        pending.unshift(...parts(target));
        continue;
      }
      inside.push(part);
      if (pending.length > 0) continue;
      if (found.type !== S_IFREG) return undefined;
      return found.tree.readFile(found.place, FILE_LIMIT_BYTES)?.toString();
    }
    return undefined;
  }

  /** The entry of the uppermost layer that has it; links above it are followed in no layer. */
  private find(path: readonly string[]): Found | undefined {
    for (let index = 0; index < this.layers.length; index++) {
      const found = findIn(this.tree(index), path);
      if (found === "hidden") return undefined;
      if (found !== "missing") return found;
    }
    return undefined;
  }

  private tree(index: number): RootedTree {
    this.trees[index] ??= new RootedTree(this.layers[index] ?? "");
    return this.trees[index];
  }
}

/** @returns `hidden` when the layer hides what the layers below have there */
function findIn(tree: RootedTree, path: readonly string[]): Found | "missing" | "hidden" {
  let directory = "";
  let isOpaque = false;
  for (const [index, base] of path.entries()) {
    const dirfd = tree.directory(directory);
    if (dirfd === undefined) return "hidden"; // removed just now
    const place = { dirfd, base };
    const status = tree.lstat(place);
    if (!status) return isOpaque || hidesBelow(tree, directory) ? "hidden" : "missing";
    const type = status.mode & S_IFMT;
    if (type === S_IFCHR && status.rdev === 0) return "hidden";
    if (index === path.length - 1) return { tree, place, type };
    if (type !== S_IFDIR) return "hidden";
    if (index > 0) isOpaque ||= hidesBelow(tree, directory);
    directory = directory === "" ? base : `${directory}/${base}`;
  }
  return "missing";
}

function hidesBelow(tree: RootedTree, directory: string): boolean {
  const dirfd = directory === "" ? undefined : tree.directory(directory);
  return dirfd !== undefined && tree.xattrsOfNode(dirfd).get(OPAQUE_XATTR) === "y";
}

/** The components of a path, as a byte string. */
function parts(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
