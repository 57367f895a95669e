import fs from "node:fs";
import path from "node:path";
import type { Logger } from "@longshore/log";

/** So much later than what needs the processors now: our own start, a container's. */
const DELAY_MS = 25;
/** For words that are known only when there is a container: its namespace and id, 76 bytes each at most, and flags. */
const ROOM_BYTES = 256;

export type StandbyProcess = Bun.Subprocess<"pipe", "pipe", "pipe">;

export interface StandbyOptions {
  /** The shim. */
  binary: string;
  /** The words and the environment that every shim gets. */
  words: readonly string[];
  environment: Readonly<Record<string, string | undefined>>;
  log: Logger;
}

/** What makes a shim that stands by the one of a container; see the shim's own `standby.ts`. */
export interface Commission {
  argv: readonly string[];
  bundle: string;
  environment: Readonly<Record<string, string>>;
}

/**
 * A shim of ours that runs before there is a container for it: the start of its shim is a third of what a container waits for.
 * There is one at a time. It ends when this process does, however that ends.
 */
export class StandbyShim implements Disposable {
  readonly #options: StandbyOptions;
  #process: StandbyProcess | undefined;
  #timer: Timer | undefined;
  /** The file that it was started from. */
  #file: string | undefined;
  /** A file that is somebody else's shim, which knows nothing of this. */
  #foreign: string | undefined;
  #ended = false;

  constructor(options: StandbyOptions) {
    this.#options = options;
  }

  /** The one that stands by, if `binary` is ours, still the same, and one is there: it takes on a container. */
  take(binary: string, commission: Commission): StandbyProcess | undefined {
    const child = this.#process;
    if (!child || binary !== this.#options.binary) return undefined;
    this.#process = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return undefined;
    const isCurrent = fileOf(binary) === this.#file;
    void tell(child, isCurrent ? JSON.stringify(commission) : "");
    return isCurrent ? child : undefined;
  }

  /** Have one soon, unless there is one. */
  prepare(): void {
    if (this.#timer || this.#process || this.#ended) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#start();
    }, DELAY_MS);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    if (this.#process) void tell(this.#process, "");
    this.#process = undefined;
  }

  #start(): void {
    const { binary, words, environment, log } = this.#options;
    const file = fileOf(binary);
    if (file === undefined || file === this.#foreign) return;
    const room = " ".repeat(words.join(" ").length + ROOM_BYTES);
    try {
      const child: StandbyProcess = Bun.spawn([binary, "standby", room], {
        cwd: "/",
        env: environment,
        stdio: ["pipe", "pipe", "pipe"],
        // As every shim.
        detached: true,
      });
      child.unref();
      this.#process = child;
      this.#file = file;
      void child.exited.then((code) => {
        if (this.#process !== child) return;
        // Killed, it is replaced when it is missed.
        this.#process = undefined;
        if (child.signalCode === null) this.#foreign = file;
        log.debug({ code }, "no shim stands by");
      });
    } catch (error) {
      log.debug({ err: error }, "no shim stands by");
    }
  }
}

/** Its commission, or nothing: then it ends. Should it have ended just now, that is seen by who waits for its answer. */
async function tell({ stdin }: StandbyProcess, commission: string): Promise<void> {
  try {
    await stdin.write(commission);
    await stdin.end();
  } catch {
    // nobody reads
  }
}

/** Which file a path leads to now; undefined when there is none. */
function fileOf(binary: string): string | undefined {
  const stat = fs.statSync(binary, { throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}:${stat.mtimeMs}`;
}

/** Our shim, where it lies beside us. */
export function ownShim(): string | undefined {
  const binary = path.join(path.dirname(process.execPath), "containerd-shim-runc-v2");
  return fs.existsSync(binary) ? binary : undefined;
}
