/** Work whose result all get who ask for it while it goes on. */
export class SharedWork<T> {
  private readonly running = new Map<string, Promise<T>>();

  /** @param key what the work is: of equal keys the results are alike */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.running.get(key);
    if (known) return known;
    const own = work().finally(() => this.running.delete(key));
    this.running.set(key, own);
    return own;
  }
}
