import type { Group } from "@longshore/cgroups";
import { OomNotifier } from "@longshore/cgroups/oom";
import { EngineError } from "@longshore/errors";
import { fixedBuffer, read, readTextIfExists, waitReadable } from "@longshore/syscalls";

/** Notices when a container's memory runs out. */
export class OomWatch implements Disposable {
  readonly #notifier: OomNotifier;
  readonly #directory: string;
  readonly #unified: boolean;
  #kills = 0;

  constructor(group: Group) {
    const directory = group.pathOf("memory");
    if (directory === undefined) throw new EngineError("unimplemented", "memory controller missing");
    this.#directory = directory;
    this.#unified = group.unified;
    this.#notifier = new OomNotifier({ directory, unified: group.unified });
    this.#kills = this.#notifier.kills;
  }

  [Symbol.dispose](): void {
    this.#notifier[Symbol.dispose]();
  }

  /** What happens first within some time: memory runs out, the container ends, nothing. */
  wait(timeoutMs: number): "oom" | "ended" | "nothing" {
    const notifier = this.#notifier;
    if (!waitReadable(notifier.fd, Math.ceil(timeoutMs))) return notifier.isGone ? "ended" : "nothing";
    read(notifier.fd, fixedBuffer(4096));
    // The removal of a group is told as well.
    if (notifier.isGone) return "ended";
    if (!this.#unified) return "oom";
    const more = notifier.kills > this.#kills;
    this.#kills = notifier.kills;
    if (more) return "oom";
    const populated = readTextIfExists(`${this.#directory}/cgroup.events`)?.includes("populated 1") === true;
    return populated ? "nothing" : "ended";
  }
}
