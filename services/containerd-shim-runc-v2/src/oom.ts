import { exists } from "@longshore/syscalls";
import { locateCgroup, oomKills } from "./cgroup.ts";
import { OomWatch, type SuspendedWatch } from "./oom-watch.ts";

export interface SuspendedOom {
  readonly membership: string;
  readonly told: number;
  readonly watch: SuspendedWatch | undefined;
}

/** A container that has ended by then is spared the watch: what it left in its counter is told with its exit. */
const WATCH_AFTER_MS = 100;

/** Tells when a container's memory runs out: of each kill once. */
export class OomTeller {
  readonly #tell: () => void;
  readonly #onTrouble: (error: unknown) => void;
  /** The kernel's words on the init process's cgroups, to be located when they are needed. */
  #membership = "";
  #told = 0;
  #timer: Timer | undefined;
  #watch: OomWatch | undefined;

  constructor(tell: () => void, onTrouble: (error: unknown) => void) {
    this.#tell = tell;
    this.#onTrouble = onTrouble;
  }

  /** The container was made. */
  created(membership: string): void {
    this.#membership = membership;
  }

  /** The container was started: kills within it are told from now on, whoever the kernel chose. */
  started(): void {
    this.#timer = setTimeout(() => this.#begin(), WATCH_AFTER_MS);
  }

  /** A process was killed: if by the kernel for want of memory, that is told now, before its exit. */
  look(): void {
    if (this.#watch) {
      this.#watch.look();
      return;
    }
    const kills = Number(oomKills(locateCgroup(this.#membership)));
    if (kills <= this.#told) return;
    this.#told = kills;
    this.#tell();
  }

  /** What another program needs to go on with this. */
  get suspended(): SuspendedOom {
    return {
      membership: this.#membership,
      told: this.#watch?.told ?? this.#told,
      watch: this.#watch?.suspended,
    };
  }

  /** Go on where an earlier program was: nothing is told twice. */
  resume({ membership, told, watch }: SuspendedOom): void {
    this.#membership = membership;
    this.#told = told;
    if (watch) this.#watch = new OomWatch(watch.group, { told, onOom: this.#tell, open: watch.open });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#watch?.close();
  }

  #begin(): void {
    try {
      const group = memoryGroup(this.#membership);
      if (!group) return;
      this.#watch = new OomWatch(group, { told: this.#told, onOom: this.#tell });
    } catch (error) {
      this.#onTrouble(error);
    }
  }
}

/** Undefined without a memory controller. */
function memoryGroup(membership: string): { directory: string; unified: boolean } | undefined {
  // Where v1's controller nearly always is: looking through all mounts would cost 40 kB.
  const [, group] = /^\d+:memory:(.*)$/m.exec(membership) ?? [];
  const usual = `/sys/fs/cgroup/memory${group}`;
  if (group !== undefined && exists(`${usual}/memory.oom_control`))
    return { directory: usual, unified: false };
  const cgroup = locateCgroup(membership);
  const unified = cgroup.version === 2;
  const directory = unified ? cgroup.path : cgroup.paths.get("memory");
  return directory === undefined ? undefined : { directory, unified };
}
