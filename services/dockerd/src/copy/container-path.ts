import { cleanPath, type FileTimes, type RootedTree, splitPath, statusOf } from "@longshore/archive";
import { EngineError, isErrno } from "@longshore/errors";
import { fstatfs, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK } from "@longshore/syscalls";

/** A file of a container that a client has named. Paths are byte strings. */
export interface FoundPath {
  /** Where it is in the tree, without links on the way; empty for the root. */
  path: string;
  /** Its last name as the client wrote it: `.` for `/dir/.`. */
  name: string;
  status: FileTimes;
}

/** `X-Docker-Container-Path-Stat`, in JSON. */
export interface PathStat {
  name: string;
  size: number;
  /** As Go's FileMode. */
  mode: number;
  mtime: string;
  /** Where a link leads to in the end. */
  linkTarget: string;
}

/**
 * Find a file. Links on the way are followed within the container's root; the last one only when the path ends with a slash or `/.`.
 * @throws EngineError `not_found` in Docker's words, `invalid_argument` for a file that should be a directory
 */
export function findPath(
  tree: RootedTree,
  text: string,
  container: string,
  {
    shown = text,
    notDirectory = `lstat ${text}: not a directory`,
  }: { shown?: string; notDirectory?: string } = {},
): FoundPath {
  const bytes = Buffer.from(text).toString("latin1");
  const clean = cleanPath(bytes);
  const asDirectory = /(^|\/)\.?$/.test(bytes);
  const missing = () =>
    new EngineError("not_found", `Could not find the file ${shown} in container ${container}`);
  const { parent, base } = splitPath(clean);
  let path: string;
  let status: FoundPath["status"] | undefined;
  try {
    path = (asDirectory ? tree.resolve(clean) : [...tree.resolve(parent), base])
      .filter((part) => part !== "")
      .join("/");
    status = statusOf(tree, path);
  } catch (error) {
    if (isErrno(error, "ENOTDIR", "ELOOP", "ENOENT", "ENAMETOOLONG", "EXDEV")) throw missing();
    throw error;
  }
  if (!status || isBelowMadeUp(tree, path)) throw missing();
  if (asDirectory && (status.mode & S_IFMT) !== S_IFDIR) {
    throw new EngineError("invalid_argument", notDirectory);
  }
  return { path, name: bytes.endsWith("/.") || bytes === "." ? "." : base || "/", status };
}

/** File systems that the kernel makes up as they are read: procfs, sysfs, cgroups, terminals, message queues and so on. */
const MADE_UP = new Set([
  0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x1cd1, 0x19800202, 0x64626720, 0x74726163, 0xcafe4a11,
  0x73636673,
]);

/** Whether what is at an open descriptor is nothing that somebody has written. */
export function isMadeUp(fd: number): boolean {
  return MADE_UP.has(fstatfs(fd).type);
}

/** Whether the kernel makes up what is at a path, as all in /proc: it has no content until it is read. */
function isBelowMadeUp(tree: RootedTree, path: string): boolean {
  const directory = path === "" ? undefined : tree.directory(splitPath(path).parent);
  return directory !== undefined && isMadeUp(directory);
}

export function showStat(tree: RootedTree, { path, name, status }: FoundPath): PathStat {
  const isLink = (status.mode & S_IFMT) === S_IFLNK;
  const text = (bytes: string) => Buffer.from(bytes, "latin1").toString();
  return {
    name: text(name),
    size: status.size,
    mode: goMode(status.mode),
    mtime: goTime(status.mtimeNs),
    linkTarget: isLink ? text(`/${tree.resolve(path).join("/")}`) : "",
  };
}

const GO_TYPES = new Map([
  [S_IFDIR, 2 ** 31],
  [S_IFLNK, 2 ** 27],
  [S_IFBLK, 2 ** 26],
  [S_IFCHR, 2 ** 26 + 2 ** 21],
  [S_IFIFO, 2 ** 25],
  [S_IFSOCK, 2 ** 24],
]);

/** A mode of the kernel's in the bits of Go's FileMode. */
export function goMode(mode: number): number {
  const special =
    (mode & 0o4000 ? 2 ** 23 : 0) + (mode & 0o2000 ? 2 ** 22 : 0) + (mode & 0o1000 ? 2 ** 20 : 0);
  return (GO_TYPES.get(mode & S_IFMT) ?? 0) + special + (mode & 0o777);
}

function goTime(ns: bigint): string {
  const fraction = String(((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n).padStart(9, "0");
  const seconds = new Date(Math.floor(Number(ns) / 1e9) * 1000).toISOString().slice(0, 19);
  const digits = fraction.replace(/0+$/, "");
  return `${seconds}${digits && `.${digits}`}Z`;
}
