import { EngineError } from "@longshore/errors";
import {
  check,
  close,
  exists,
  NR,
  O_CLOEXEC,
  O_RDONLY,
  openFile,
  readTextIfExists,
  scratch,
  syscall,
  writeControl,
} from "@longshore/syscalls";

const EFD_CLOEXEC = 0x80000;
const EFD_NONBLOCK = 0x800;
const IN_CLOEXEC = 0x80000;
const IN_NONBLOCK = 0x800;
const IN_MODIFY = 2;
const READ_BYTES = 512;

/** Where a group's memory controller is, and which version of cgroups it is of. */
export interface MemoryGroup {
  directory: string;
  unified: boolean;
}

/** What the kernel knows a notifier by. */
export interface NotifierDescriptors {
  readonly fd: number;
  /** v1: the open file that the eventfd is registered for. */
  readonly control: number | undefined;
}

/**
 * A descriptor that becomes readable when a group's memory runs out, a process in it is killed for that, or the group is removed: an
 * eventfd in v1, inotify on `memory.events` and `cgroup.events` in v2. Reads of it don't block.
 */
export class OomNotifier implements Disposable {
  readonly fd: number;
  readonly #group: MemoryGroup;
  #control: number | undefined;
  #closed = false;

  /**
   * @param open one that is there already
   * @throws EngineError `unimplemented` for a group whose files aren't all there
   */
  constructor(group: MemoryGroup, open?: NotifierDescriptors) {
    this.#group = group;
    this.#control = open?.control;
    if (open) {
      this.fd = open.fd;
      return;
    }
    this.fd = group.unified
      ? check(syscall(NR.inotify_init1, IN_CLOEXEC | IN_NONBLOCK), "inotify_init1")
      : check(syscall(NR.eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd2");
    try {
      if (group.unified) this.#watchFiles();
      else this.#register();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.fd);
    if (this.#control !== undefined) close(this.#control);
  }

  get descriptors(): NotifierDescriptors {
    return { fd: this.fd, control: this.#control };
  }

  /** How many processes were killed so far: in v1 those of the group itself, in v2 those below it too. */
  get kills(): number {
    const { directory, unified } = this.#group;
    const text = readTextIfExists(`${directory}/${unified ? "memory.events" : "memory.oom_control"}`) ?? "";
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** Read what there is: whether there was anything. */
  drain(): boolean {
    const arena = scratch();
    const address = arena.base + arena.room(READ_BYTES);
    let some = false;
    while (syscall(NR.read, this.fd, address, READ_BYTES) > 0) some = true;
    return some;
  }

  /** Whether the group was removed. */
  get isGone(): boolean {
    const { directory, unified } = this.#group;
    return !exists(`${directory}/${unified ? "cgroup.events" : "cgroup.event_control"}`);
  }

  #register(): void {
    const { directory } = this.#group;
    this.#control = openFile(`${directory}/memory.oom_control`, O_RDONLY | O_CLOEXEC);
    writeControl(`${directory}/cgroup.event_control`, `${this.fd} ${this.#control}`);
  }

  #watchFiles(): void {
    for (const file of ["memory.events", "cgroup.events"]) {
      const path = `${this.#group.directory}/${file}`;
      if (!exists(path)) throw new EngineError("unimplemented", `unable to add inotify watch: ${path}`);
      check(
        syscall(NR.inotify_add_watch, this.fd, scratch().string(path), IN_MODIFY),
        "inotify_add_watch",
        path,
      );
    }
  }
}
