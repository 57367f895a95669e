import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "@longshore/syscalls";
import { decompressStream } from "./decompress-stream.ts";
import { closeSync, writeSync } from "./descriptors.ts";
import type { RootedTree } from "./rooted-tree.ts";
import { tarEntries } from "./tar-entries.ts";
import type { TarEntry } from "./tar-header.ts";
import { cleanPath, placeOf, splitPath, statusOf } from "./tree-paths.ts";

export interface UnpackOptions {
  /** A directory takes no file's place, nor a file a directory's. */
  keepKinds: boolean;
  /** Who all of it shall belong to; undefined: who the tar says. */
  owner: { uid: number; gid: number } | undefined;
  /** Another name for an entry, whose name has no `.`, no `..` and no slash at its ends. */
  rename?: (name: string) => string;
  /** Whether an entry is not unpacked. */
  leaveOut?: (entry: TarEntry) => boolean;
  /** Drop set-user-id and set-group-id of all but directories, and capabilities. */
  withoutPrivileges?: boolean;
  /** Refuse links in the tree that lead out of it, also absolute ones, in place of taking them to begin at its root. */
  within?: boolean;
  /** The path of the tree's root, for messages. */
  rootPath?: string;
}

/**
 * Unpack a tar, compressed or not, into a directory of a tree, beside what is there. Nothing in it leads out of the tree.
 *
 * @param into path of the directory without links
 * @throws EngineError `invalid_argument` for what is no tar, names what is above it, or doesn't fit to what is there
 */
export async function unpackTree(
  tree: RootedTree,
  into: string,
  source: AsyncIterable<Buffer>,
  options: UnpackOptions,
): Promise<void> {
  const directories: { path: string; entry: TarEntry }[] = [];
  const { rename = (name: string) => name, leaveOut = () => false } = options;
  for await (const { entry, content } of tarEntries(decompressStream(source))) {
    if (/^\.\.(\/|$)/.test(path.posix.normalize(entry.name))) {
      throw new EngineError("invalid_argument", `invalid entry name ${quoted(entry.name)}`);
    }
    const name = cleanPath(rename(cleanPath(entry.name)));
    if (name === "" || leaveOut(entry)) continue; // the directory itself stays as it is
    const file = makeParents(tree, into, name, options);
    makeRoom(tree, file, entry, options);
    if (entry.type === "directory") {
      makeDirectory(tree, file);
      directories.push({ path: file, entry });
    } else if (entry.type === "file") await writeFile(tree, file, { entry, content, options });
    else if (entry.type === "hardlink") link(tree, { path: file, into, entry, options });
    else makeSpecial(tree, file, entry, options);
  }
  for (const { path, entry } of directories.reverse()) {
    // What was made in it has changed its times, and its mode may forbid more. A later entry may have replaced it.
    if (isDirectoryAt(tree, path)) setAttributes(tree, path, entry, options);
  }
}

/** The path of an entry without links on the way; directories that the tar leaves out are made. */
function makeParents(tree: RootedTree, into: string, name: string, options: UnpackOptions): string {
  const { parent, base } = splitPath(name);
  const parts = resolveIn(tree, into, parent, options);
  for (let length = 1; length <= parts.length; length++) {
    const path = parts.slice(0, length).join("/");
    if (!statusOf(tree, path)) makeDirectory(tree, path);
  }
  return [...parts, base].join("/");
}

function resolveIn(
  tree: RootedTree,
  into: string,
  path: string,
  { within = false }: UnpackOptions,
): string[] {
  try {
    return tree.resolve([into, path].filter((part) => part !== "").join("/"), { within });
  } catch (error) {
    if (!isErrno(error, "EXDEV")) throw error;
    const why = `a link in the path of ${quoted(path)} leads out of the destination`;
    throw new EngineError("invalid_argument", why, { cause: error });
  }
}

function makeDirectory(tree: RootedTree, path: string): void {
  const place = need(tree, path);
  if (!tree.lstat(place)) tree.mkdir(place, 0o755);
}

function isDirectoryAt(tree: RootedTree, path: string): boolean {
  return ((statusOf(tree, path)?.mode ?? 0) & S_IFMT) === S_IFDIR;
}

/** Take away what an entry replaces. */
function makeRoom(tree: RootedTree, path: string, entry: TarEntry, options: UnpackOptions): void {
  const { keepKinds, rootPath = "" } = options;
  const place = need(tree, path);
  const status = tree.lstat(place);
  if (!status) return;
  const [was, is] = [(status.mode & S_IFMT) === S_IFDIR, entry.type === "directory"];
  if (was && is) return;
  if (keepKinds && was !== is) {
    const shown = quoted(`${rootPath}/${path}`);
    const name = quoted(entry.name);
    throw new EngineError(
      "invalid_argument",
      is
        ? `cannot overwrite non-directory ${shown} with directory ${name}`
        : `cannot overwrite directory ${shown} with non-directory ${name}`,
    );
  }
  tree.remove(place);
}

/** A byte string as text in quotation marks. */
function quoted(bytes: string): string {
  return JSON.stringify(Buffer.from(bytes, "latin1").toString());
}

function modeOf({ type, mode }: TarEntry, { withoutPrivileges = false }: UnpackOptions): number {
  return mode & (withoutPrivileges && type !== "directory" ? 0o1777 : 0o7777);
}

async function writeFile(
  tree: RootedTree,
  path: string,
  { entry, content, options }: { entry: TarEntry; content: AsyncIterable<Buffer>; options: UnpackOptions },
): Promise<void> {
  const fd = tree.create(need(tree, path), 0o600);
  try {
    for await (const piece of content) {
      for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    }
    const { uid, gid } = options.owner ?? entry;
    // Changing the owner takes set-user-id and capabilities away, so it comes first.
    tree.fchown(fd, uid, gid);
    tree.fchmod(fd, modeOf(entry, options));
    const capability = entry.xattrs.get("security.capability");
    if (capability !== undefined && !options.withoutPrivileges)
      tree.setXattrOf(fd, "security.capability", capability);
    tree.futimes(fd, entry.atimeNs || entry.mtimeNs, entry.mtimeNs);
  } finally {
    closeSync(fd);
  }
}

interface HardLink {
  path: string;
  into: string;
  entry: TarEntry;
  options: UnpackOptions;
}

/** To a file of the same tar. */
function link(tree: RootedTree, { path, into, entry, options }: HardLink): void {
  const { rename = (name: string) => name } = options;
  const { parent, base } = splitPath(cleanPath(rename(cleanPath(entry.linkName))));
  const parts = resolveIn(tree, into, parent, options);
  tree.link(need(tree, [...parts, base].join("/")), need(tree, path));
}

const SPECIAL = { character: S_IFCHR, block: S_IFBLK, fifo: S_IFIFO } as const;

function makeSpecial(tree: RootedTree, path: string, entry: TarEntry, options: UnpackOptions): void {
  const place = need(tree, path);
  if (entry.type === "symlink") tree.symlink(entry.linkName, place);
  else {
    const kind = SPECIAL[entry.type as keyof typeof SPECIAL];
    const device = ((entry.major & 0xfff) << 8) | (entry.minor & 0xff) | ((entry.minor & 0xfff00) << 12);
    tree.mknod(place, kind | 0o600, device);
  }
  setAttributes(tree, path, entry, options);
}

const TYPES = {
  file: S_IFREG,
  hardlink: S_IFREG,
  directory: S_IFDIR,
  symlink: S_IFLNK,
  ...SPECIAL,
} as const;

/** By a descriptor: a process of the container may have put something else in the place of the name. */
function setAttributes(tree: RootedTree, path: string, entry: TarEntry, options: UnpackOptions): void {
  const { uid, gid } = options.owner ?? entry;
  tree.withNode(need(tree, path), TYPES[entry.type], (fd) => {
    tree.chownOf(fd, uid, gid);
    if (entry.type !== "symlink") tree.chmodOf(fd, modeOf(entry, options));
    tree.utimesOf(fd, entry.atimeNs || entry.mtimeNs, entry.mtimeNs);
  });
}

function need(tree: RootedTree, path: string): { dirfd: number; base: string } {
  const place = placeOf(tree, path);
  if (!place) throw new EngineError("not_found", `/${path}: its directory has gone`);
  return place;
}
