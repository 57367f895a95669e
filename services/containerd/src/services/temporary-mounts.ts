import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import {
  CLONE_FS,
  CLONE_NEWNS,
  MNT_DETACH,
  MS_BIND,
  MS_NOATIME,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  MS_SLAVE,
  mount,
  umount2,
  unshare,
} from "@longshore/syscalls";
import type { MountMessage } from "./diff-messages.ts";

const FLAGS: Readonly<Record<string, number>> = {
  ro: MS_RDONLY,
  bind: MS_BIND,
  rbind: MS_BIND | MS_REC,
  nosuid: MS_NOSUID,
  nodev: MS_NODEV,
  noexec: MS_NOEXEC,
  noatime: MS_NOATIME,
};

let isolated = false;

/**
 * Mount something for the time of a piece of work, in a mount namespace of this process' own: the machine's mount table never shows
 * it, and nothing is left when the process is killed.
 *
 * @param mounts one on the other, as containerd lists them
 * @throws EngineError `invalid_argument` when there is none; Errno from the kernel
 */
export async function withMounts<T>(
  mounts: readonly MountMessage[],
  work: (root: string) => Promise<T>,
): Promise<T> {
  if (mounts.length === 0) throw new EngineError("invalid_argument", "no mounts given: invalid argument");
  isolate();
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "containerd-mount"));
  let mounted = 0;
  try {
    for (const one of mounts) {
      mountOne(one, path.join(root, one.target ?? ""));
      mounted++;
    }
    return await work(root);
  } finally {
    for (; mounted > 0; mounted--) umount2(path.join(root, mounts[mounted - 1]?.target ?? ""), MNT_DETACH);
    fs.rmdirSync(root);
  }
}

/** A mount namespace of our own that still sees what the machine mounts. */
function isolate(): void {
  if (isolated) return;
  // CLONE_FS first: other threads share the working directory, and the kernel refuses a new namespace then.
  unshare(CLONE_FS);
  unshare(CLONE_NEWNS);
  mount({ source: "none", target: "/", flags: MS_REC | MS_SLAVE });
  isolated = true;
}

function mountOne({ type, source, options }: MountMessage, target: string): void {
  let flags = 0;
  const data: string[] = [];
  for (const option of options) {
    const flag = FLAGS[option];
    if (flag !== undefined) flags |= flag;
    else if (option !== "rw") data.push(option);
  }
  if (type === "bind") {
    mount({ source, target, flags: flags & (MS_BIND | MS_REC) || MS_BIND });
    // The kernel takes the flags of a bind only in a second step.
    if (flags & MS_RDONLY) mount({ source: "none", target, flags: flags | MS_REMOUNT });
    return;
  }
  const back = process.cwd();
  const short = type === "overlay" ? shorten(data) : undefined;
  try {
    if (short) process.chdir(short.directory);
    mount({ source, target, type, flags, data: (short?.options ?? data).join(",") });
  } finally {
    if (short) process.chdir(back);
  }
}

/** Options of mount(2) fit in a page: name lower directories relative to the one they have in common. */
function shorten(options: readonly string[]): { directory: string; options: string[] } | undefined {
  const lowers = options
    .find((option) => option.startsWith("lowerdir="))
    ?.slice("lowerdir=".length)
    .split(":");
  if (!lowers || lowers.length < 2 || !lowers.every((lower) => lower.startsWith("/"))) return undefined;
  const split = lowers.map((lower) => lower.split("/"));
  let common = 0;
  while (split.every((parts) => parts.length > common + 1 && parts[common] === split[0]?.[common])) common++;
  const directory = split[0]?.slice(0, common).join("/") || "/";
  const relative = split.map((parts) => parts.slice(common).join("/")).join(":");
  return {
    directory,
    options: options.map((option) => (option.startsWith("lowerdir=") ? `lowerdir=${relative}` : option)),
  };
}
