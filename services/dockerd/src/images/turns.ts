/** Lets so many work at once; of those who wait, the one with the lowest number is next. */
export class Turns {
  private free: number;
  private readonly waiting: { number: number; enter: () => void }[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** @returns to be disposed of at the end of the turn */
  async take(number: number): Promise<Disposable> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((enter) => this.waiting.push({ number, enter }));
    return {
      [Symbol.dispose]: () => {
        this.waiting.sort((a, b) => a.number - b.number);
        const next = this.waiting.shift();
        if (next) next.enter();
        else this.free++;
      },
    };
  }
}
