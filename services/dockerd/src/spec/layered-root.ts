import fs from "node:fs";
import path from "node:path";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { isErrno } from "@longshore/errors";
import type { UserFiles } from "./user.ts";

const LINKS_MAX = 40;
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

/** The files that say who is who in a container. */
export function readUserFiles(layers: readonly string[]): UserFiles {
  return {
    passwd: readLayeredFile(layers, "/etc/passwd") ?? "",
    group: readLayeredFile(layers, "/etc/group") ?? "",
  };
}

/**
 * A regular file's text as the container would see it, read from the layers of its root without mounting them.
 * Symbolic links are followed inside the root, whatever they say; whiteouts hide what is below them.
 *
 * @returns undefined when there is no such file
 */
export function readLayeredFile(layers: readonly string[], file: string): string | undefined {
  const pending = file.split("/").filter((part) => part !== "" && part !== ".");
  let inside: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.shift() ?? "";
    if (part === "..") {
      inside = inside.slice(0, -1);
      continue;
    }
    const found = lookup(layers, [...inside, part].join("/"));
    if (!found) return undefined;
    if (found.stat.isSymbolicLink()) {
      if (++links > LINKS_MAX) return undefined;
      const target = fs.readlinkSync(found.path);
      if (path.isAbsolute(target)) inside = [];
      pending.unshift(...target.split("/").filter((name) => name !== "" && name !== "."));
      continue;
    }
    inside.push(part);
    if (pending.length > 0) continue;
    if (!found.stat.isFile() || found.stat.size > FILE_LIMIT_BYTES) return undefined;
    return fs.readFileSync(found.path, "utf8");
  }
  return undefined;
}

/** The uppermost layer's entry; symbolic links above it are never followed, in no layer. */
function lookup(layers: readonly string[], relative: string): { path: string; stat: fs.Stats } | undefined {
  for (const layer of layers) {
    const parents = parentsIn(layer, relative);
    if (parents === "hidden") return undefined;
    if (parents === "missing") continue;
    const candidate = path.join(layer, relative);
    const stat = lstat(candidate);
    if (stat) return isWhiteout(stat) ? undefined : { path: candidate, stat };
  }
  return undefined;
}

/** What a layer has above an entry; something else than a directory hides all layers below. */
function parentsIn(layer: string, relative: string): "directories" | "missing" | "hidden" {
  let directory = layer;
  for (const part of relative.split("/").slice(0, -1)) {
    directory = path.join(directory, part);
    const stat = lstat(directory);
    if (!stat) return "missing";
    if (!stat.isDirectory()) return "hidden";
  }
  return "directories";
}

function isWhiteout(stat: fs.Stats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0;
}

function lstat(file: string): fs.Stats | undefined {
  try {
    return fs.lstatSync(file);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
