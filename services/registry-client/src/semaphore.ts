/** Lets a number of holders in at once; the others wait in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(holders: number) {
    this.#free = holders;
  }

  /** @throws the signal's reason when it is aborted first */
  async acquire(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return this.#holder();
    }
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal.reason);
      };
      this.#waiting.push(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
    return this.#holder();
  }

  /** Undefined where {@link acquire} would wait. */
  tryAcquire(): Disposable | undefined {
    if (this.#free === 0) return undefined;
    this.#free -= 1;
    return this.#holder();
  }

  #holder(): Disposable {
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free += 1;
      },
    };
  }
}

/** Undefined where one of them would wait; none is held then. */
export function tryAcquireAll(semaphores: readonly Semaphore[]): Disposable | undefined {
  using undo = new DisposableStack();
  for (const semaphore of semaphores) {
    const held = semaphore.tryAcquire();
    if (!held) return undefined;
    undo.use(held);
  }
  return undo.move();
}
