/** Lets one async piece of work run at a time, in the order of the calls: for read-then-commit sequences of one process. */
export class Mutex {
  private tail: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.tail.then(work);
    // A failure is its caller's; the next in line runs all the same.
    this.tail = result.catch(() => {});
    return result;
  }
}
