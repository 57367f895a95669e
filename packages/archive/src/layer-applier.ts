import { EngineError, isErrno } from "@longshore/errors";
import { makedev, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG } from "@longshore/syscalls";
import { copyEntry } from "./copy-tree.ts";
import { closeSync, fstatSync, ftruncateSync, writeSync } from "./descriptors.ts";
import { isDirectory, isWhiteout, lookUp, OPAQUE_XATTR } from "./layer-lookup.ts";
import { type Place, RootedTree } from "./rooted-tree.ts";
import type { TarEntry } from "./tar-header.ts";
import type { TarSink } from "./tar-reader.ts";
import { cleanPath, splitPath } from "./tree-paths.ts";

const WHITEOUT = ".wh.";
const WHITEOUT_META = ".wh..wh.";
const OPAQUE = ".wh..wh..opq";
const OVERLAY_XATTRS = "trusted.overlay.";

export interface ApplyOptions {
  /**
   * How deletions are recorded: `remove` deletes what is there; `overlay` leaves what an overlayfs upper directory needs, devices 0:0 and
   * the attribute `trusted.overlay.opaque`.
   */
  whiteouts: "remove" | "overlay";
  /**
   * Lower directories of an overlay, nearest first: a directory that the layer has entries in but no entry of its own gets owner,
   * permissions and attributes from there, and a hard link to a file of theirs takes that file along. `later`: they are not there yet,
   * and a layer that needs them is refused.
   */
  lowers?: readonly string[] | "later";
}

const NODE_TYPES = {
  file: S_IFREG,
  hardlink: S_IFREG,
  directory: S_IFDIR,
  character: S_IFCHR,
  block: S_IFBLK,
  fifo: S_IFIFO,
} as const;

/** A directory's times: set last, since every entry made in it changes them. */
interface DirectoryTimes {
  path: string;
  atimeNs: bigint;
  mtimeNs: bigint;
}

/**
 * Makes a layer's entries in a directory. The rules are those of the OCI image specification (layer.md, "Applying Changesets")
 * as containerd's `pkg/archive` has them; nothing leaves the directory, whatever names and links the layer brings. An entry for the root
 * itself is ignored, as there.
 *
 * @throws EngineError `invalid_argument` for names that make no sense, `failed_precondition` for a layer that needs those below it when
 * these come later; Errno from the file system
 */
export class LayerApplier implements TarSink, Disposable {
  private readonly tree: RootedTree;
  private readonly lowers: RootedTree[];
  private readonly overlay: boolean;
  private readonly lowersComeLater: boolean;
  /** What this layer has made: not subject to its own whiteouts. */
  private readonly unpacked = new Set<string>();
  private readonly directories: DirectoryTimes[] = [];
  private file: { fd: number; entry: TarEntry; written: number; hasHoles: boolean } | undefined;

  constructor(root: string, { whiteouts, lowers = [] }: ApplyOptions) {
    this.overlay = whiteouts === "overlay";
    this.lowersComeLater = lowers === "later";
    using stack = new DisposableStack();
    this.tree = stack.use(new RootedTree(root));
    const there = lowers === "later" ? [] : lowers;
    this.lowers = there.map((lower) => stack.use(new RootedTree(lower)));
    stack.move();
  }

  [Symbol.dispose](): void {
    if (this.file) closeSync(this.file.fd);
    this.file = undefined;
    this.tree[Symbol.dispose]();
    for (const lower of this.lowers) lower[Symbol.dispose]();
  }

  entry(entry: TarEntry): void {
    const path = cleanPath(entry.name);
    if (path === "") return;
    const { parent, base } = splitPath(path);
    if (base.startsWith(WHITEOUT)) this.whiteout(entry, parent, base);
    else this.make(entry, path, this.place(parent, base));
  }

  data(bytes: Buffer): void {
    const { file } = this;
    if (!file) return;
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(file.fd, bytes, done, bytes.length - done, file.written + done);
    }
    file.written += bytes.length;
  }

  hole(length: number): void {
    if (!this.file) return;
    this.file.written += length;
    this.file.hasHoles = true;
  }

  entryEnd(): void {
    if (!this.file) return;
    const { fd, entry, written, hasHoles } = this.file;
    this.file = undefined;
    try {
      if (hasHoles) ftruncateSync(fd, written); // the last one may be at the end
      this.tree.fchown(fd, entry.uid, entry.gid);
      // After the owner: changing that clears the set-id bits and the capabilities.
      this.tree.fchmod(fd, entry.mode);
      for (const [name, value] of entry.xattrs) {
        this.setXattr(name, () => this.tree.setXattrOf(fd, name, value));
      }
      this.tree.futimes(fd, entry.atimeNs, entry.mtimeNs);
    } finally {
      closeSync(fd);
    }
  }

  /** All entries are there: set the directories' times. */
  finish(): void {
    for (const { path, atimeNs, mtimeNs } of this.directories) {
      const fd = this.tree.openDirectory(path);
      if (fd === undefined) continue; // replaced by a later entry
      try {
        this.tree.futimes(fd, atimeNs, mtimeNs);
      } finally {
        closeSync(fd);
      }
    }
  }

  private make(entry: TarEntry, path: string, place: Place): void {
    const { tree } = this;
    this.unpacked.add(path);
    if (entry.type === "file") {
      const fd = this.replacing(path, place, (at) => tree.create(at, 0o600));
      this.file = { fd, entry, written: 0, hasHoles: false };
      return;
    }
    if (entry.type === "directory") {
      this.makeDirectory(entry, path, place);
      return;
    }
    const at = this.replacing(path, place, (to) => {
      this.makeSpecial(entry, to);
      return to;
    });
    // A hard link has its target's everything.
    if (entry.type !== "hardlink") this.setMetadata(entry, at);
  }

  private makeSpecial(entry: TarEntry, place: Place): void {
    const { tree } = this;
    if (entry.type === "symlink") tree.symlink(entry.linkName, place);
    else if (entry.type === "hardlink") this.makeHardLink(entry, place);
    else if (entry.type === "fifo") tree.mknod(place, S_IFIFO | 0o600, 0);
    else {
      const type = entry.type === "block" ? S_IFBLK : S_IFCHR;
      tree.mknod(place, type | 0o600, makedev(entry.major, entry.minor));
    }
  }

  private makeHardLink(entry: TarEntry, place: Place): void {
    const source = cleanPath(entry.linkName);
    const from = this.linkSource(source);
    if (from) {
      this.tree.link(from, place);
      return;
    }
    if (this.lowersComeLater) throw needsLowers(entry.name);
    if (this.copyUp(source)) {
      const copied = this.linkSource(source);
      // Making the directory of the copy may have closed the one of the link.
      const { parent: to, base } = splitPath(cleanPath(entry.name));
      if (copied) this.tree.link(copied, this.place(to, base));
      return;
    }
    throw new EngineError(
      "invalid_argument",
      `hard link ${entry.name} to ${entry.linkName}: no such file in the layer`,
    );
  }

  /** What a hard link leads to, when this layer has it. */
  private linkSource(path: string): Place | undefined {
    const { parent, base } = splitPath(path);
    const dirfd = this.tree.directory(parent);
    if (dirfd === undefined || base === "") return undefined;
    const there = this.tree.lstat({ dirfd, base });
    const isFile = there && !isDirectory(there) && !(this.overlay && isWhiteout(there));
    return isFile ? { dirfd, base } : undefined;
  }

  /** Take a file of a lower directory into this one, as the kernel does before somebody links it. */
  private copyUp(path: string): boolean {
    const found = path === "" ? undefined : lookUp([this.tree, ...this.lowers], path);
    if (!found || found.tree === this.tree || isDirectory(found.status)) return false;
    this.place(splitPath(path).parent, "");
    return copyEntry(found.tree, this.tree, path);
  }

  /** A directory that is there already is merged with: only its metadata change. */
  private makeDirectory(entry: TarEntry, path: string, place: Place): void {
    const at = this.madeDirectory(place) ? place : this.directoryInPlace(path, place);
    this.setMetadata(entry, at);
    this.directories.push({ path, atimeNs: entry.atimeNs, mtimeNs: entry.mtimeNs });
  }

  /** @returns false when the name is taken */
  private madeDirectory(place: Place): boolean {
    try {
      this.tree.mkdir(place, 0o700);
      return true;
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      return false;
    }
  }

  /** Keep the directory that has a name, or replace what has it by one. */
  private directoryInPlace(path: string, place: Place): Place {
    const { tree } = this;
    const there = tree.lstat(place);
    if (there && isDirectory(there)) return place;
    const wasWhiteout = there !== undefined && isWhiteout(there);
    const at = this.replacing(path, place, (to) => {
      tree.mkdir(to, 0o700);
      return to;
    });
    // It replaces a directory below rather than adding to it.
    if (wasWhiteout && this.overlay) tree.setXattr(at, OPAQUE_XATTR, "y");
    return at;
  }

  private setMetadata(entry: TarEntry, place: Place): void {
    const { tree } = this;
    if (entry.type === "symlink") {
      // None of these calls follows it.
      tree.chown(place, entry.uid, entry.gid);
      for (const [name, value] of entry.xattrs) {
        this.setXattr(name, () => tree.setXattr(place, name, value));
      }
      tree.utimes(place, entry.atimeNs, entry.mtimeNs);
      return;
    }
    tree.withNode(place, NODE_TYPES[entry.type], (fd) => {
      tree.chownOf(fd, entry.uid, entry.gid);
      tree.chmodOf(fd, entry.mode);
      for (const [name, value] of entry.xattrs) {
        this.setXattr(name, () => tree.setXattrOf(fd, name, value));
      }
      if (entry.type !== "directory") tree.utimesOf(fd, entry.atimeNs, entry.mtimeNs);
    });
  }

  /** What the file system, or the kind of file, can't hold is left out, as containerd does; also what would steer overlayfs. */
  private setXattr(name: string, set: () => void): void {
    if (name.startsWith(OVERLAY_XATTRS)) return;
    try {
      set();
    } catch (error) {
      if (!isErrno(error, "EOPNOTSUPP", "ENOTSUP", "EPERM")) throw error;
    }
  }

  private whiteout(entry: TarEntry, parent: string, base: string): void {
    if (base === OPAQUE) {
      this.makeOpaque(parent);
      return;
    }
    // AUFS kept its own state under such names; it has no meaning elsewhere.
    if (base.startsWith(WHITEOUT_META)) return;
    const hidden = base.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") {
      throw new EngineError("invalid_argument", `invalid whiteout name: ${entry.name}`);
    }
    const place = this.place(parent, hidden);
    const there = this.tree.lstat(place);
    if (this.unpacked.has(parent === "" ? hidden : `${parent}/${hidden}`)) {
      // Whiteouts are about the layers below; what this layer has put there stays.
      const isDirectory = there !== undefined && (there.mode & S_IFMT) === S_IFDIR;
      if (this.overlay && isDirectory) this.tree.setXattr(place, OPAQUE_XATTR, "y");
      return;
    }
    if (there) this.tree.remove(place);
    if (!this.overlay) return;
    const at = this.place(parent, hidden);
    this.tree.mknod(at, S_IFCHR, 0);
    this.tree.chown(at, entry.uid, entry.gid);
  }

  private makeOpaque(path: string): void {
    const { dirfd } = this.place(path, "");
    if (this.overlay) {
      this.tree.setXattrOf(dirfd, OPAQUE_XATTR, "y");
      return;
    }
    this.removeForeign(path);
  }

  /** Remove what this layer has not put there. */
  private removeForeign(path: string): void {
    const fd = this.tree.openDirectory(path);
    if (fd === undefined) return;
    try {
      for (const base of this.tree.names(fd)) {
        const child = path === "" ? base : `${path}/${base}`;
        if (!this.unpacked.has(child)) this.tree.remove({ dirfd: fd, base });
        else if (((this.tree.lstat({ dirfd: fd, base })?.mode ?? 0) & S_IFMT) === S_IFDIR)
          this.removeForeign(child);
      }
    } finally {
      closeSync(fd);
    }
  }

  /** Do what makes a name; when it is taken, remove what has it first. */
  private replacing<T>(path: string, place: Place, make: (place: Place) => T): T {
    try {
      return make(place);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    this.tree.remove(place);
    const { parent, base } = splitPath(path);
    return make(this.place(parent, base));
  }

  /** A name in a directory that is made when missing. */
  private place(parent: string, base: string): Place {
    const dirfd = this.tree.directory(parent) ?? this.makeParents(parent);
    return { dirfd, base };
  }

  private makeParents(path: string): number {
    const parts = this.tree.resolve(path);
    for (let n = 1; n <= parts.length; n++) {
      const below = parts.slice(0, n).join("/");
      if (this.tree.directory(below) !== undefined) continue;
      this.makeParent(below);
    }
    const dirfd = this.tree.directory(parts.join("/"));
    if (dirfd === undefined) throw new Error(`${path} is not there after it was made`);
    return dirfd;
  }

  private makeParent(path: string): void {
    if (this.lowersComeLater) throw needsLowers(path);
    const { parent, base } = splitPath(path);
    const dirfd = this.tree.directory(parent);
    if (dirfd === undefined) throw new Error(`${parent} is not there`);
    const place = { dirfd, base };
    this.tree.mkdir(place, 0o755);
    this.tree.withNode(place, S_IFDIR, (made) => this.likeBelow(path, made));
  }

  /** Give a directory that the layer leaves out the attributes that it has below. */
  private likeBelow(path: string, made: number): void {
    this.tree.chmodOf(made, 0o755);
    for (const lower of this.lowers) {
      const fd = lower.openDirectory(path);
      if (fd === undefined) continue;
      try {
        const { uid, gid, mode } = lower.fstat(fd);
        this.tree.chownOf(made, uid, gid);
        this.tree.chmodOf(made, mode & 0o7777);
        for (const [name, value] of lower.xattrs(fd)) {
          this.setXattr(name, () => this.tree.setXattrOf(made, name, value));
        }
        const { atimeNs, mtimeNs } = fstatSync(fd, { bigint: true });
        this.directories.push({ path, atimeNs, mtimeNs });
      } finally {
        closeSync(fd);
      }
      return;
    }
  }
}

function needsLowers(name: string): EngineError {
  return new EngineError("failed_precondition", `${name} needs the layers below, which are not there yet`);
}
