import { END_BLOCKS, type EntryType, headerBlocks } from "@longshore/archive";
import type { Image } from "./image.ts";

/** What the engine or the runtime puts something over in every container. */
const ENTRIES: readonly [string, EntryType, number][] = [
  [".dockerenv", "file", 0o755],
  ["dev/", "directory", 0o755],
  ["dev/console", "file", 0o755],
  ["dev/pts/", "directory", 0o755],
  ["dev/shm/", "directory", 0o755],
  ["etc/", "directory", 0o755],
  ["etc/hostname", "file", 0o755],
  ["etc/hosts", "file", 0o755],
  ["etc/resolv.conf", "file", 0o755],
  ["proc/", "directory", 0o755],
  ["sys/", "directory", 0o755],
];

/**
 * The layer between an image and its containers: with what is mounted over already there, a container's own layer holds only what its
 * processes change. That is what `docker diff` and `docker commit` are about.
 */
export function initLayer(): Buffer {
  const common = { linkName: "", uid: 0, gid: 0, size: 0, mtimeNs: 0n, atimeNs: 0n, major: 0, minor: 0 };
  const headers = ENTRIES.map(([name, type, mode]) =>
    headerBlocks({ ...common, name, type, mode, xattrs: new Map() }),
  );
  return Buffer.concat([...headers, END_BLOCKS]);
}

/** Name of the snapshot that an image's containers stand on. */
export function initKey({ chainIds }: Image): string {
  return `${chainIds.at(-1) ?? "scratch"}-init`;
}
