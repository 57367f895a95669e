import { Group, type GroupState, type RdtState } from "@longshore/cgroups";
import { EngineError, isErrno } from "@longshore/errors";
import type { Hooks, State } from "@longshore/oci";
import {
  exists,
  mkdir,
  mkdirAll,
  readDirectory,
  readTextIfExists,
  rename,
  rmdir,
  unlink,
  writeFile,
} from "@longshore/syscalls";

/** `ROOT/ID/state.json`. */
export interface SavedState {
  id: string;
  bundle: string;
  /** The init process; 0 until there is one. */
  pid: number;
  /** Its start time in clock ticks (proc_pid_stat(5) field 22): a pid alone may be another process by now. */
  startTime: string;
  created: string;
  rootfs: string;
  group: GroupState;
  /** The systemd unit that the group belongs to, when systemd manages it. */
  unit?: string;
  intelRdt?: RdtState;
  ociVersion: string;
  hooks: Hooks;
  annotations: Record<string, string>;
  /** Whether the init process was started with a pid namespace of its own. */
  ownPidNamespace: boolean;
  /** Whether it was left the keyring of its maker. */
  noNewKeyring?: boolean;
}

export type Status = "creating" | "created" | "running" | "paused" | "stopped";

const ID = /^[\w+.-]+$/;

function checkId(id: string): void {
  if (id === "") throw new EngineError("invalid_argument", "container id cannot be empty");
  if (!ID.test(id) || id === "." || id === ".." || id.length > 1024) {
    throw new EngineError("invalid_argument", "invalid container ID format");
  }
}

/** @throws EngineError `failed_precondition` for what isn't a state of ours, such as the original's */
function readState(text: string, id: string): SavedState {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch (error) {
    throw new EngineError("failed_precondition", `the state of container ${id} can't be read`, {
      cause: error,
    });
  }
  if (typeof state === "object" && state !== null && "group" in state && "pid" in state) {
    return state as SavedState;
  }
  throw new EngineError("failed_precondition", `container ${id} was made by another runtime`);
}

/** The state and start time of a process, or undefined when it is gone; state is R, S, D, T, Z, X … */
export function processStat(pid: number): { state: string; startTime: string; parent: number } | undefined {
  if (pid <= 0) return undefined;
  const text = readTextIfExists(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name, in parentheses, may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "X", parent: Number(fields[1]), startTime: fields[19] ?? "" };
}

/** The directory of one container below runc's root, and what is in it. */
export class Container {
  readonly directory: string;
  readonly saved: SavedState;
  readonly group: Group;

  private constructor(directory: string, saved: SavedState) {
    this.directory = directory;
    this.saved = saved;
    this.group = new Group(saved.group, saved.unit);
  }

  static directoryOf(root: string, id: string): string {
    checkId(id);
    return `${root}/${id}`;
  }

  /** Make the directory: nobody else can have the id from then on. */
  static claim(root: string, id: string): string {
    const directory = Container.directoryOf(root, id);
    mkdirAll(root, 0o700);
    try {
      mkdir(directory, 0o711);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EEXIST") {
        throw new EngineError("already_exists", "container with given ID already exists", { cause: error });
      }
      throw error;
    }
    return directory;
  }

  /** Remove what a `create` left that was killed before it wrote a state. */
  static discard(root: string, id: string): void {
    removeDirectory(Container.directoryOf(root, id));
  }

  /** @throws EngineError `not_found` */
  static load(root: string, id: string): Container {
    const directory = Container.directoryOf(root, id);
    const text = readTextIfExists(`${directory}/state.json`);
    if (text === undefined) throw new EngineError("not_found", "container does not exist");
    return new Container(directory, readState(text, id));
  }

  /**
   * The names below runc's root that may be containers, in order.
   *
   * @throws Errno when there is no such directory
   */
  static ids(root: string): string[] {
    return readDirectory(root)
      .filter(({ name, type }) => type === 4 && !name.startsWith("."))
      .map(({ name }) => name)
      .sort();
  }

  get fifo(): string {
    return `${this.directory}/exec.fifo`;
  }

  /** Whether the init process still runs; a zombie doesn't. */
  get alive(): boolean {
    const stat = processStat(this.saved.pid);
    return (
      stat !== undefined &&
      stat.startTime === this.saved.startTime &&
      stat.state !== "Z" &&
      stat.state !== "X"
    );
  }

  get status(): Status {
    if (this.saved.pid === 0) return "creating";
    if (!this.alive) return "stopped";
    if (this.group.frozen) return "paused";
    return exists(this.fifo) ? "created" : "running";
  }

  get hooks(): Hooks {
    return this.saved.hooks;
  }

  /** As hooks get it on stdin and `state` prints it, without the extras of runc. */
  ociState(status = this.status): State {
    return ociState(this.saved, status);
  }

  remove(): void {
    removeDirectory(this.directory);
  }
}

export function ociState(saved: SavedState, status: Status): State {
  const { annotations, ociVersion } = saved;
  return {
    ociVersion,
    id: saved.id,
    status,
    pid: status === "stopped" ? 0 : saved.pid,
    bundle: saved.bundle,
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}

export function saveState(directory: string, state: SavedState): void {
  const part = `${directory}/state.json.part`;
  writeFile(part, JSON.stringify(state), { mode: 0o600 });
  rename(part, `${directory}/state.json`);
}

/** Remove a container's directory; its files are few and flat. Done twice it does nothing. */
export function removeDirectory(directory: string): void {
  // These it always has; a look at what else there is costs more than they do.
  for (const name of ["state.json", "config.json"]) removeFile(`${directory}/${name}`);
  try {
    rmdir(directory);
    return;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return;
    if (!isErrno(error, "ENOTEMPTY")) throw error;
  }
  for (const { name } of readDirectory(directory)) removeFile(`${directory}/${name}`);
  rmdir(directory);
}

function removeFile(path: string): void {
  try {
    unlink(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
