import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "@longshore/syscalls";
import { decompressStream } from "./decompress-stream.ts";
import type { RootedTree } from "./rooted-tree.ts";
import { tarEntries } from "./tar-entries.ts";
import type { TarEntry } from "./tar-header.ts";
import { cleanPath, placeOf, splitPath, statusOf } from "./tree-paths.ts";

export interface UnpackOptions {
  /** A directory takes no file's place, nor a file a directory's. */
  keepKinds: boolean;
  /** Who all of it shall belong to; undefined: who the tar says. */
  owner: { uid: number; gid: number } | undefined;
  /** Another name for an entry. */
  rename?: (name: string) => string;
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
  const { rename = (name: string) => name } = options;
  for await (const { entry, content } of tarEntries(decompressStream(source))) {
    if (/^\.\.(\/|$)/.test(path.posix.normalize(entry.name))) {
      const shown = JSON.stringify(Buffer.from(entry.name, "latin1").toString());
      throw new EngineError("invalid_argument", `invalid entry name ${shown}`);
    }
    const name = cleanPath(rename(entry.name));
    if (name === "") continue; // the directory itself stays as it is
    const file = makeParents(tree, into, name);
    makeRoom(tree, file, entry, options);
    if (entry.type === "directory") {
      makeDirectory(tree, file);
      directories.push({ path: file, entry });
    } else if (entry.type === "file") await writeFile(tree, file, { entry, content, options });
    else if (entry.type === "hardlink") link(tree, { path: file, into, name: rename(entry.linkName) });
    else makeSpecial(tree, file, entry, options);
  }
  // What was made in them has changed their times, and a mode may forbid more.
  for (const { path, entry } of directories.reverse()) setAttributes(tree, path, entry, options);
}

/** The path of an entry without links on the way; directories that the tar leaves out are made. */
function makeParents(tree: RootedTree, into: string, name: string): string {
  const { parent, base } = splitPath(name);
  const parts = tree.resolve([into, parent].filter((part) => part !== "").join("/"));
  for (let length = 1; length <= parts.length; length++) {
    const path = parts.slice(0, length).join("/");
    if (!statusOf(tree, path)) makeDirectory(tree, path);
  }
  return [...parts, base].join("/");
}

function makeDirectory(tree: RootedTree, path: string): void {
  const place = need(tree, path);
  if (!tree.lstat(place)) tree.mkdir(place, 0o755);
}

/** Take away what an entry replaces. */
function makeRoom(tree: RootedTree, path: string, entry: TarEntry, { keepKinds }: UnpackOptions): void {
  const place = need(tree, path);
  const status = tree.lstat(place);
  if (!status) return;
  const [was, is] = [(status.mode & S_IFMT) === S_IFDIR, entry.type === "directory"];
  if (was && is) return;
  if (keepKinds && was !== is) {
    const shown = JSON.stringify(`/${Buffer.from(path, "latin1").toString()}`);
    const name = JSON.stringify(Buffer.from(entry.name, "latin1").toString());
    throw new EngineError(
      "invalid_argument",
      is
        ? `cannot overwrite non-directory ${shown} with directory ${name}`
        : `cannot overwrite directory ${shown} with non-directory ${name}`,
    );
  }
  tree.remove(place);
}

async function writeFile(
  tree: RootedTree,
  path: string,
  { entry, content, options }: { entry: TarEntry; content: AsyncIterable<Buffer>; options: UnpackOptions },
): Promise<void> {
  const fd = tree.create(need(tree, path), 0o600);
  try {
    for await (const piece of content) {
      for (let at = 0; at < piece.length; ) at += fs.writeSync(fd, piece, at);
    }
    const { uid, gid } = options.owner ?? entry;
    // Changing the owner takes set-user-id and capabilities away, so it comes first.
    tree.fchown(fd, uid, gid);
    tree.fchmod(fd, entry.mode & 0o7777);
    const capability = entry.xattrs.get("security.capability");
    if (capability !== undefined) tree.setXattrOf(fd, "security.capability", capability);
    tree.futimes(fd, entry.atimeNs || entry.mtimeNs, entry.mtimeNs);
  } finally {
    fs.closeSync(fd);
  }
}

/** To a file of the same tar. */
function link(tree: RootedTree, { path, into, name }: { path: string; into: string; name: string }): void {
  const { parent, base } = splitPath(cleanPath(name));
  const parts = tree.resolve([into, parent].filter((part) => part !== "").join("/"));
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
function setAttributes(tree: RootedTree, path: string, entry: TarEntry, { owner }: UnpackOptions): void {
  const { uid, gid } = owner ?? entry;
  tree.withNode(need(tree, path), TYPES[entry.type], (fd) => {
    tree.chownOf(fd, uid, gid);
    if (entry.type !== "symlink") tree.chmodOf(fd, entry.mode & 0o7777);
    tree.utimesOf(fd, entry.atimeNs || entry.mtimeNs, entry.mtimeNs);
  });
}

function need(tree: RootedTree, path: string): { dirfd: number; base: string } {
  const place = placeOf(tree, path);
  if (!place) throw new EngineError("not_found", `/${path}: its directory has gone`);
  return place;
}
