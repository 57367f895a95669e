import type { Hierarchy } from "./hierarchies.ts";

/** Two slashes, dots and trailing slashes away; `..` can't lead above the top. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/**
 * Where `linux.cgroupsPath` is in a hierarchy: absolute from its mount point; otherwise below the group that we are in, in a machine
 * with v2 only beside it, since a group with processes can't pass controllers down.
 */
export function groupPath({ own, mountpoint }: Hierarchy, cgroupsPath: string, unified = false): string {
  const base = unified ? own.slice(0, Math.max(0, own.lastIndexOf("/"))) : own;
  const path = cgroupsPath.startsWith("/")
    ? cleanPath(cgroupsPath)
    : cleanPath(`${base}/${cleanPath(cgroupsPath)}`);
  return path === "/" ? mountpoint : mountpoint + path;
}
