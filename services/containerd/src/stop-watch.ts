/** How long the steps of something took, in ms. */
export class StopWatch {
  readonly laps: Record<string, number> = {};
  #last = performance.now();

  lap(step: string): void {
    const now = performance.now();
    this.laps[step] = Math.round((now - this.#last) * 100) / 100;
    this.#last = now;
  }
}
