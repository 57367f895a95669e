import { EngineError, isErrno } from "@longshore/errors";
import type { Resources } from "@longshore/oci";
import {
  exists,
  isAlive,
  kill,
  mkdirAll,
  readDirectory,
  readText,
  readTextIfExists,
  rmdir,
  sleepMs,
  writeControl,
} from "@longshore/syscalls";
import { applyDeviceRules } from "./device-program.ts";
import { type Hierarchy, hierarchies } from "./hierarchies.ts";
import { type Setting, settingsV1, settingsV2 } from "./settings.ts";

/** A container's directory in one hierarchy. */
export interface GroupDirectory {
  version: 1 | 2;
  controllers: string[];
  path: string;
}

/** What is kept of a cgroup in the state file: enough to find and remove it. */
export type GroupState = GroupDirectory[];

/** Two slashes, dots and trailing slashes away; `..` can't lead above the top. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Where `linux.cgroupsPath` is in a hierarchy: absolute from its mount point, otherwise below the group that we are in. */
export function groupPath(hierarchy: Hierarchy, cgroupsPath: string): string {
  const path = cgroupsPath.startsWith("/")
    ? cleanPath(cgroupsPath)
    : cleanPath(`${hierarchy.own}/${cleanPath(cgroupsPath)}`);
  return path === "/" ? hierarchy.mountpoint : hierarchy.mountpoint + path;
}

/** A cgroup of a container, in all hierarchies of the machine. */
export class Group {
  readonly directories: GroupDirectory[];

  constructor(directories: GroupDirectory[]) {
    this.directories = directories;
  }

  /**
   * Make the directories of a container's group. One that is there already is used, as long as nobody is in it.
   *
   * @param cgroupsPath of the specification, or the container's id when it has none
   */
  static create(cgroupsPath: string): Group {
    const mounts = hierarchies();
    const group = new Group(
      mounts.map((hierarchy) => ({
        version: hierarchy.version,
        controllers: hierarchy.controllers,
        path: groupPath(hierarchy, cgroupsPath),
      })),
    );
    try {
      for (const [index, directory] of group.directories.entries()) {
        const top = mounts[index]?.mountpoint ?? "";
        if (directory.version === 2 && group.unified) enableControllers(top, directory.path);
        const made = mkdirAll(directory.path);
        if (directory.controllers.includes("cpuset")) fillCpuset(top, directory.path);
        if (made === 0 && directory.version === 2 && group.unified) refusePopulated(directory.path);
      }
    } catch (error) {
      group.remove();
      throw error;
    }
    return group;
  }

  /** Whether the machine has v2 only. */
  get unified(): boolean {
    return this.directories.every(({ version }) => version === 2);
  }

  /** The directory in v2, if there is one. */
  get unifiedPath(): string | undefined {
    return this.directories.find(({ version }) => version === 2)?.path;
  }

  /** The directory in which a controller's files are. */
  pathOf(controller: string): string | undefined {
    return this.unified
      ? this.unifiedPath
      : this.directories.find(({ controllers }) => controllers.includes(controller))?.path;
  }

  /** Write limits. @throws EngineError `unimplemented` for one whose controller the machine hasn't */
  apply(resources: Resources): void {
    const settings = this.unified ? settingsV2(resources) : settingsV1(resources);
    const unified = resources.unified ?? {};
    if (!this.unified && Object.keys(unified).length > 0) {
      throw new EngineError("unimplemented", "linux.resources.unified needs cgroup v2");
    }
    for (const setting of settings) this.#write(setting);
    if (this.unified && (resources.devices ?? []).length > 0)
      applyDeviceRules(this.unifiedPath ?? "", resources.devices ?? []);
  }

  #write({ controller, file, value, optional }: Setting): void {
    const directory = this.pathOf(controller);
    if (directory === undefined) {
      // A device rule that allows is nothing to enforce, and no limit needs no controller.
      if (optional || value === "max" || value === "-1") return;
      throw new EngineError(
        "unimplemented",
        `cgroup: controller ${controller} is not available, can't set ${file}`,
      );
    }
    try {
      writeControl(`${directory}/${file}`, value);
    } catch (error) {
      if (optional && isErrno(error, "ENOENT", "EACCES", "EOPNOTSUPP")) return;
      if (isErrno(error, "ENOENT") && !exists(directory)) {
        throw new EngineError("not_found", `cgroup ${directory} is gone`, { cause: error });
      }
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      throw new EngineError(
        "internal",
        `failed to write ${JSON.stringify(value)} to ${directory}/${file}: ${code}`,
        {
          cause: error,
        },
      );
    }
  }

  /** All processes in the group and below. */
  processes(): number[] {
    const first = this.unified ? this.unifiedPath : (this.pathOf("devices") ?? this.directories[0]?.path);
    return first === undefined ? [] : processesBelow(first);
  }

  /** Kill everything inside with SIGKILL and wait for it to go, at most some seconds. */
  killAll(): void {
    for (let attempt = 0; attempt < 500; attempt++) {
      const pids = this.processes().filter((pid) => pid > 0 && isAlive(pid));
      if (pids.length === 0) return;
      for (const pid of pids) {
        try {
          kill(pid, 9);
        } catch (error) {
          if (!isErrno(error, "ESRCH")) throw error;
        }
      }
      sleepMs(attempt < 10 ? 1 : 10);
    }
  }

  /** Stop or go on with all processes, and wait until it is so. */
  freeze(frozen: boolean): void {
    const v1 = this.pathOf("freezer");
    if (!this.unified && v1 !== undefined) {
      freezeV1(v1, frozen);
      return;
    }
    const path = this.unifiedPath;
    if (path === undefined) throw new EngineError("unimplemented", "cgroup: there is no freezer");
    writeControl(`${path}/cgroup.freeze`, frozen ? "1" : "0");
    const wanted = `frozen ${frozen ? 1 : 0}`;
    for (let attempt = 0; !readText(`${path}/cgroup.events`).includes(wanted); attempt++) {
      if (attempt > 1000) throw new EngineError("deadline_exceeded", "cgroup: the freezer takes too long");
      sleepMs(1);
    }
  }

  get frozen(): boolean {
    const v1 = this.unified ? undefined : this.pathOf("freezer");
    if (v1 !== undefined) return readTextIfExists(`${v1}/freezer.state`)?.startsWith("THAWED") === false;
    const path = this.unifiedPath;
    return path !== undefined && readTextIfExists(`${path}/cgroup.freeze`)?.trim() === "1";
  }

  /** Remove the directories, with what was made below. Done twice it does nothing. */
  remove(): void {
    for (const { path } of this.directories) removeTree(path);
  }
}

function freezeV1(path: string, frozen: boolean): void {
  const wanted = frozen ? "FROZEN" : "THAWED";
  for (let attempt = 0; attempt < 1000; attempt++) {
    writeControl(`${path}/freezer.state`, wanted);
    if (readText(`${path}/freezer.state`).trim() === wanted) return;
    sleepMs(attempt < 5 ? 0 : 1);
    // A process that forks as fast as we freeze can win for long: let it run on in between.
    if (attempt % 50 === 49) writeControl(`${path}/freezer.state`, "THAWED");
  }
  writeControl(`${path}/freezer.state`, "THAWED");
  throw new EngineError("deadline_exceeded", "cgroup: the freezer takes too long");
}

function processesBelow(path: string): number[] {
  const text = readTextIfExists(`${path}/cgroup.procs`);
  if (text === undefined) return [];
  const own = text.split("\n").filter((line) => line !== "");
  const below = readDirectory(path).filter(({ type }) => type === 4);
  return [...own.map(Number), ...below.flatMap(({ name }) => processesBelow(`${path}/${name}`))];
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
function enableControllers(top: string, path: string): void {
  const wanted = readText(`${top}/cgroup.controllers`).trim().split(" ").filter(Boolean);
  if (path === top) return;
  const parts = path.slice(top.length + 1).split("/");
  for (let depth = 0; depth < parts.length; depth++) {
    const parent = [top, ...parts.slice(0, depth)].join("/");
    mkdirAll(parent);
    const have = new Set(readText(`${parent}/cgroup.subtree_control`).trim().split(" "));
    const missing = wanted.filter((name) => !have.has(name));
    if (missing.length === 0) continue;
    try {
      writeControl(`${parent}/cgroup.subtree_control`, missing.map((name) => `+${name}`).join(" "));
    } catch {
      // One that can't be had (rt tasks in cpu, a threaded group) must not keep the others away.
      for (const name of missing) {
        try {
          writeControl(`${parent}/cgroup.subtree_control`, `+${name}`);
        } catch (error) {
          if (!isErrno(error, "EBUSY", "EINVAL", "EOPNOTSUPP", "ENOENT")) throw error;
        }
      }
    }
  }
}

function refusePopulated(path: string): void {
  if (processesBelow(path).length > 0) {
    throw new EngineError("conflict", "container's cgroup is not empty");
  }
}

function removeTree(path: string): void {
  for (let attempt = 0; ; attempt++) {
    try {
      rmdir(path);
      return;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      if (!isErrno(error, "EBUSY", "ENOTEMPTY") || attempt > 60) throw error;
    }
    for (const { name, type } of attempt === 0 ? readDirectory(path) : [])
      if (type === 4) removeTree(`${path}/${name}`);
    // Its last process may just be going: the kernel lets go of it a moment after it was reaped.
    if (attempt > 0) sleepMs(Math.min(attempt, 20));
  }
}
