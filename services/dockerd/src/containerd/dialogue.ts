import { EngineError } from "@longshore/errors";

/** A two-way stream of which each request has one answer. */
export class Dialogue<Request, Response> {
  private readonly answers: AsyncIterator<Response>;
  private readonly waiting: (Request | undefined)[] = [];
  private wake: () => void = () => {};

  constructor(call: (requests: AsyncIterable<Request>) => AsyncIterable<Response>) {
    this.answers = call(this.requests())[Symbol.asyncIterator]();
  }

  /** @throws EngineError `unavailable` when the other side has ended the stream */
  async ask(request: Request): Promise<Response> {
    this.push(request);
    const { done, value } = await this.answers.next();
    if (done) throw new EngineError("unavailable", "the content store ended the write");
    return value;
  }

  async close(): Promise<void> {
    this.push(undefined);
    await this.answers.return?.();
  }

  private push(request: Request | undefined): void {
    this.waiting.push(request);
    this.wake();
  }

  private async *requests(): AsyncGenerator<Request> {
    for (;;) {
      while (this.waiting.length === 0) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
      const request = this.waiting.shift();
      if (request === undefined) return;
      yield request;
    }
  }
}
