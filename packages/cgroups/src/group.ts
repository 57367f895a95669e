import { EngineError, isErrno } from "@longshore/errors";
import {
  close,
  isAlive,
  pidfdOpen,
  pidfdSendSignal,
  readDirectory,
  readText,
  readTextIfExists,
  rmdir,
  sleepMs,
  writeControl,
} from "@longshore/syscalls";

/** A container's directory in one hierarchy. */
export interface GroupDirectory {
  version: 1 | 2;
  controllers: string[];
  path: string;
}

/** What is kept of a cgroup in the state file: enough to find and remove it. */
export type GroupState = GroupDirectory[];

/**
 * A cgroup of a container, in all hierarchies of the machine. (`createGroup` and `applyResources` are no methods, so that `start` and
 * `delete` do without their code.)
 */
export class Group {
  readonly directories: GroupDirectory[];
  /** The systemd unit that it belongs to, when systemd manages it. */
  readonly unit: string | undefined;

  constructor(directories: GroupDirectory[], unit?: string) {
    this.directories = directories;
    this.unit = unit;
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

  /** All processes in the group and below; of the hierarchies of v1 one speaks for all. */
  processes(): number[] {
    const first = this.unified ? this.unifiedPath : (this.pathOf("devices") ?? this.directories[0]?.path);
    return first === undefined ? [] : processesBelow(first);
  }

  /**
   * Also who isn't in all hierarchies yet: a process is born in the unified one, and joins those of v1 later. (The others are not looked
   * at before a container is made: what is there may be somebody else's.)
   */
  everybody(): number[] {
    const newborn = this.unified || this.unifiedPath === undefined ? [] : processesBelow(this.unifiedPath);
    return [...new Set([...this.processes(), ...newborn])];
  }

  /** Kill everything inside with SIGKILL and wait for it to go, at most some seconds. */
  killAll(): void {
    for (let attempt = 0; attempt < 500; attempt++) {
      const pids = this.everybody().filter((pid) => pid > 0 && isAlive(pid));
      if (pids.length === 0) return;
      this.#signal(pids, 9, () => this.everybody());
      sleepMs(attempt < 10 ? 1 : 10);
    }
  }

  /** Send a signal to all processes in the group and below, and to no other. */
  signal(number: number): void {
    this.#signal(this.processes(), number, () => this.processes());
  }

  /** A process may end, and its number be another's, between the list and the signal: a second list is read once pidfds are open. */
  #signal(pids: readonly number[], number: number, members: () => number[]): void {
    const opened = pids.flatMap((pid) => {
      try {
        return [{ pid, fd: pidfdOpen(pid) }];
      } catch (error) {
        if (isErrno(error, "ESRCH", "EINVAL")) return []; // ended, or 0: not visible from our pid namespace
        throw error;
      }
    });
    try {
      const now = new Set(members());
      for (const { pid, fd } of opened) {
        try {
          if (now.has(pid)) pidfdSendSignal(fd, number);
        } catch (error) {
          if (!isErrno(error, "ESRCH")) throw error;
        }
      }
    } finally {
      for (const { fd } of opened) close(fd);
    }
  }

  /** Stop or go on with all processes, and wait until it is so. */
  freeze(frozen: boolean): void {
    const v1 = this.unified ? undefined : this.pathOf("freezer");
    if (v1 !== undefined) {
      freezeV1(v1, frozen);
      return;
    }
    const path = this.unifiedPath;
    if (path === undefined) {
      throw new EngineError("unimplemented", "cannot toggle freezer: cgroups not configured for container");
    }
    writeControl(`${path}/cgroup.freeze`, frozen ? "1" : "0");
    const wanted = `frozen ${frozen ? 1 : 0}`;
    for (let attempt = 0; !readText(`${path}/cgroup.events`).includes(wanted); attempt++) {
      if (attempt > 1000) throw new EngineError("deadline_exceeded", "unable to freeze");
      sleepMs(1);
    }
  }

  get frozen(): boolean {
    const v1 = this.unified ? undefined : this.pathOf("freezer");
    if (v1 !== undefined) return frozenV1(v1);
    const path = this.unifiedPath;
    return path !== undefined && readTextIfExists(`${path}/cgroup.freeze`)?.trim() === "1";
  }

  /** Remove the directories, with what was made below, and kill whoever is still inside. Done twice it does nothing. */
  remove(): void {
    for (const { path } of this.directories) removeTree(path, () => this.#empty());
  }

  #empty(): void {
    if (this.frozen) this.freeze(false);
    this.killAll();
  }
}

/** Frozen by itself, not by a group above. */
function frozenV1(path: string): boolean {
  const state = readTextIfExists(`${path}/freezer.state`);
  if (state === undefined || state.startsWith("THAWED")) return false;
  return readTextIfExists(`${path}/freezer.self_freezing`)?.startsWith("0") !== true;
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
  throw new EngineError("deadline_exceeded", "unable to freeze");
}

function processesBelow(path: string): number[] {
  const text = readTextIfExists(`${path}/cgroup.procs`);
  if (text === undefined) return [];
  const own = text.split("\n").filter((line) => line !== "");
  const below = readDirectory(path).filter(({ type }) => type === 4);
  return [...own.map(Number), ...below.flatMap(({ name }) => processesBelow(`${path}/${name}`))];
}

/** Remove a group and those below. The kernel refuses while somebody is inside. */
function removeTree(path: string, empty: () => void): void {
  for (let attempt = 0; ; attempt++) {
    try {
      rmdir(path);
      return;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      if (!isErrno(error, "EBUSY", "ENOTEMPTY") || attempt > 60) throw error;
    }
    if (attempt === 1) empty();
    for (const { name, type } of attempt === 0 ? readDirectory(path) : [])
      if (type === 4) removeTree(`${path}/${name}`, empty);
    // Its last process may just be going: the kernel lets go of it a moment after it was reaped.
    if (attempt > 0) sleepMs(Math.min(attempt, 20));
  }
}
