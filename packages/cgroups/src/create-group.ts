import { EngineError, isErrno } from "@longshore/errors";
import { exists, mkdirAll, readText, readTextIfExists, writeControl } from "@longshore/syscalls";
import { Group } from "./group.ts";
import { type Hierarchy, hierarchies } from "./hierarchies.ts";
import { groupPath } from "./paths.ts";

/** A container's group before it is there. */
export interface PlannedGroup {
  group: Group;
  /** Make the directories. */
  make(): void;
}

/**
 * Where a container's group will be in all hierarchies. One that is there already may be used, as long as nobody is in it and it isn't
 * frozen. Nothing is made yet: first it is to be written down what will be, so that it can be removed whatever happens.
 *
 * @param cgroupsPath of the specification, or the container's id when it has none
 * @throws EngineError in the original's words
 */
export function planGroup(cgroupsPath: string): PlannedGroup {
  const mounts = hierarchies();
  const unified = mounts.every(({ version }) => version === 2);
  const group = new Group(
    mounts.map((hierarchy) => ({
      version: hierarchy.version,
      controllers: hierarchy.controllers,
      path: groupPath(hierarchy, cgroupsPath, unified),
    })),
  );
  const devices = group.pathOf("devices");
  // Without it a container could reach every device.
  if (devices === undefined) throw new EngineError("unimplemented", "mountpoint for devices not found");
  if ([devices, group.unifiedPath].some((path) => path !== undefined && exists(path))) refuseUsed(group);
  return { group, make: () => makeDirectories(group, mounts) };
}

/** The directories of a group in all hierarchies, which are given in the same order, and what must be so before a process can join. */
export function makeDirectories(group: Group, mounts: readonly Hierarchy[]): void {
  for (const [index, { path, controllers }] of group.directories.entries()) {
    const top = mounts[index]?.mountpoint ?? "";
    if (group.unified) passControllersDown(top, path);
    mkdirAll(path);
    if (group.unified) refuseThreaded(path);
    if (controllers.includes("cpuset")) fillCpuset(top, path);
  }
}

function refuseUsed(group: Group): void {
  const count = group.everybody().length;
  if (count > 0) {
    throw new EngineError("conflict", `container's cgroup is not empty: ${count} process(es) found`);
  }
  if (group.frozen) throw new EngineError("conflict", "container's cgroup unexpectedly frozen");
}

/** Below a group with processes of its own only controllers that know threads work. */
function refuseThreaded(path: string): void {
  const type = readTextIfExists(`${path}/cgroup.type`)?.trim();
  if (type === undefined || type === "domain") return;
  const state = type === "domain invalid" ? "an invalid state" : `${type} mode`;
  throw new EngineError(
    "failed_precondition",
    `cannot enter cgroupv2 ${JSON.stringify(path)} with domain controllers -- it is in ${state}`,
  );
}

/** A new cpuset of v1 has neither processors nor memory and takes no process: give it the parent's. */
function fillCpuset(top: string, path: string): void {
  if (path === top) return;
  const parent = path.slice(0, path.lastIndexOf("/"));
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if (readText(`${path}/${file}`).trim() !== "") continue;
    let value = readText(`${parent}/${file}`).trim();
    if (value === "") {
      fillCpuset(top, parent);
      value = readText(`${parent}/${file}`).trim();
    }
    writeControl(`${path}/${file}`, value);
  }
}

/** In v2 a group has only the controllers that each one above it passes down. */
function passControllersDown(top: string, path: string): void {
  if (path === top) return;
  const wanted = readText(`${top}/cgroup.controllers`).trim().split(" ").filter(Boolean);
  const parts = path.slice(top.length + 1).split("/");
  for (let depth = 0; depth < parts.length; depth++) {
    const parent = [top, ...parts.slice(0, depth)].join("/");
    if (depth > 0 && !exists(parent)) mkdirAll(parent);
    const have = readText(`${parent}/cgroup.subtree_control`).trim().split(" ");
    const missing = wanted.filter((name) => !have.includes(name));
    if (missing.length > 0) enable(parent, missing);
  }
}

function enable(parent: string, controllers: readonly string[]): void {
  const file = `${parent}/cgroup.subtree_control`;
  try {
    writeControl(file, controllers.map((name) => `+${name}`).join(" "));
  } catch {
    // One that can't be had (rt tasks in cpu, a threaded group) must not keep the others away.
    for (const name of controllers) {
      try {
        writeControl(file, `+${name}`);
      } catch (error) {
        if (!isErrno(error, "EBUSY", "EINVAL", "EOPNOTSUPP", "ENOENT")) throw error;
      }
    }
  }
}
