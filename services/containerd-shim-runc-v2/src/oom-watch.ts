import { type MemoryGroup, type NotifierDescriptors, OomNotifier } from "@longshore/cgroups/oom";
import { F_DUPFD_CLOEXEC, fcntl } from "@longshore/syscalls";
import { unwatch, type Watched, watch } from "./io/readiness.ts";

export interface SuspendedWatch {
  readonly group: MemoryGroup;
  readonly open: NotifierDescriptors;
}

/** Before the next try, should the copy have been closed for nothing. */
const PAUSE_MS = 1000;

/**
 * Watches for a container's memory running out, from when it was made until it is closed or the cgroup removed. What happened
 * before, and what is found otherwise, is told as well, and nothing twice.
 */
export class OomWatch implements Watched {
  readonly #group: MemoryGroup;
  readonly #notifier: OomNotifier;
  readonly #onOom: () => void;
  #told: number;
  #poll: { terminate(): void } | undefined;
  #closed = false;

  /**
   * @param told how many kills were told already
   * @param open the notifier's descriptors where an earlier program had them
   */
  constructor(
    group: MemoryGroup,
    { told, onOom, open }: { told: number; onOom: () => void; open?: NotifierDescriptors },
  ) {
    this.#group = group;
    this.#notifier = new OomNotifier(group, open);
    this.#told = told;
    this.#onOom = onOom;
    this.look();
    if (group.unified) {
      watch(this.#notifier.fd, this);
      // What came before that raised no signal.
      this.onReady();
    } else {
      void this.#waitForEvent();
    }
  }

  /** What another program needs to go on with this; undefined when it is closed. */
  get suspended(): SuspendedWatch | undefined {
    return this.#closed ? undefined : { group: this.#group, open: this.#notifier.descriptors };
  }

  get told(): number {
    return this.#told;
  }

  /** Tell of kills that nobody told of. */
  look(): void {
    const { kills } = this.#notifier;
    if (kills <= this.#told) return;
    this.#told = kills;
    this.#notifier.drain();
    this.#onOom();
  }

  onReady(): void {
    this.#take();
  }

  /** False: there was nothing. */
  #take(): boolean {
    if (this.#closed || !this.#notifier.drain()) return false;
    if (this.#notifier.isGone) {
      this.close();
    } else if (this.#group.unified) {
      this.look();
    } else {
      // v1 tells before the kill, and also when nothing is killed because that was switched off.
      this.#told = Math.max(this.#notifier.kills, this.#told + 1);
      this.#onOom();
    }
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    unwatch(this);
    this.#poll?.terminate();
    this.#notifier[Symbol.dispose]();
  }

  /**
   * An eventfd raises no SIGIO, and reading it as a stream would cost 50 kB. So the event loop is given a copy of it as if it were a
   * connection: when it becomes readable, receiving from it fails, which closes the connection and the copy.
   */
  async #waitForEvent(): Promise<void> {
    const copy = fcntl(this.#notifier.fd, F_DUPFD_CLOEXEC);
    const again = () => {
      if (!this.#closed) void this.#waitForEvent();
    };
    const socket = {
      data() {},
      close: () => {
        if (this.#take()) again();
        else setTimeout(again, PAUSE_MS);
      },
    };
    this.#poll = await Bun.connect({ fd: copy, socket } as unknown as Bun.UnixSocketOptions);
    if (this.#closed) this.#poll.terminate();
  }
}
