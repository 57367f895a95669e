import type { Group } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import {
  check,
  close,
  exists,
  fixedBuffer,
  NR,
  O_CLOEXEC,
  O_RDONLY,
  openFile,
  read,
  readTextIfExists,
  scratch,
  syscall,
  waitReadable,
  writeControl,
} from "@longshore/syscalls";

const EFD_CLOEXEC = 0x80000;
const IN_CLOEXEC = 0x80000;
const IN_MODIFY = 2;

/** Notices when a container's memory runs out: through an eventfd in v1, by watching `memory.events` in v2. */
export class OomWatch implements Disposable {
  readonly #fds: number[] = [];
  /** What becomes readable. */
  readonly #fd: number;
  readonly #directory: string;
  readonly #unified: boolean;
  #kills = 0;

  constructor(group: Group) {
    const directory = group.pathOf("memory");
    if (directory === undefined) throw new EngineError("unimplemented", "memory controller missing");
    this.#directory = directory;
    this.#unified = group.unified;
    this.#fd = group.unified ? this.#watchFiles() : this.#register();
    this.#kills = this.#killed();
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) close(fd);
  }

  #keep(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }

  #register(): number {
    const event = this.#keep(check(syscall(NR.eventfd2, 0, EFD_CLOEXEC), "eventfd2"));
    const control = this.#keep(openFile(`${this.#directory}/memory.oom_control`, O_RDONLY | O_CLOEXEC));
    writeControl(`${this.#directory}/cgroup.event_control`, `${event} ${control}`);
    return event;
  }

  #watchFiles(): number {
    const notify = this.#keep(check(syscall(NR.inotify_init1, IN_CLOEXEC), "inotify_init1"));
    for (const file of ["memory.events", "cgroup.events"]) {
      const path = `${this.#directory}/${file}`;
      if (!exists(path)) throw new EngineError("unimplemented", `unable to add inotify watch: ${path}`);
      check(
        syscall(NR.inotify_add_watch, notify, scratch().string(path), IN_MODIFY),
        "inotify_add_watch",
        path,
      );
    }
    return notify;
  }

  /** How many processes were killed for want of memory so far. */
  #killed(): number {
    const text = readTextIfExists(`${this.#directory}/memory.events`) ?? "";
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** What happens first within some time: memory runs out, the container ends, nothing. */
  wait(timeoutMs: number): "oom" | "ended" | "nothing" {
    if (!waitReadable(this.#fd, Math.ceil(timeoutMs))) return this.#gone() ? "ended" : "nothing";
    read(this.#fd, fixedBuffer(4096));
    // The removal of a group is told as well.
    if (this.#gone()) return "ended";
    if (!this.#unified) return "oom";
    const kills = this.#killed();
    const more = kills > this.#kills;
    this.#kills = kills;
    if (more) return "oom";
    const populated = readTextIfExists(`${this.#directory}/cgroup.events`)?.includes("populated 1") === true;
    return populated ? "nothing" : "ended";
  }

  #gone(): boolean {
    return !exists(
      this.#unified ? `${this.#directory}/cgroup.events` : `${this.#directory}/cgroup.event_control`,
    );
  }
}
