import type { TarEntry } from "./tar-header.ts";
import { TarReader, type TarSink } from "./tar-reader.ts";

/** One entry of an archive, with its content while it passes by. */
export interface PassingEntry {
  readonly entry: TarEntry;
  /** Bytes of a file, valid until the next piece is asked for; what isn't read is skipped. */
  readonly content: AsyncIterable<Buffer>;
}

type TarEvent = { kind: "entry"; entry: TarEntry } | { kind: "data"; bytes: Buffer } | { kind: "end" };

/**
 * The entries of a tar that comes in pieces, one after the other, at the pace of who reads them.
 *
 * @throws EngineError `invalid_argument` for what is no tar, or one that ends early
 */
export async function* tarEntries(source: AsyncIterable<Buffer>): AsyncGenerator<PassingEntry> {
  const events = new TarEvents(source[Symbol.asyncIterator]());
  try {
    for (let event = await events.next(); event; event = await events.next()) {
      if (event.kind !== "entry") continue; // content that nobody wanted
      const content = contentOf(events);
      yield { entry: event.entry, content };
      for await (const _ of content); // up to its end
    }
  } finally {
    await events.close();
  }
}

async function* contentOf(events: TarEvents): AsyncGenerator<Buffer> {
  for (let event = await events.next(); event?.kind === "data"; event = await events.next())
    yield event.bytes;
}

/** What a reader delivers, taken one by one: the source is asked for more only when all of it was taken. */
class TarEvents implements TarSink {
  private readonly source: AsyncIterator<Buffer>;
  private readonly reader = new TarReader(this);
  private queue: TarEvent[] = [];
  private taken = 0;
  private ended = false;

  constructor(source: AsyncIterator<Buffer>) {
    this.source = source;
  }

  async next(): Promise<TarEvent | undefined> {
    while (this.taken === this.queue.length) {
      if (this.ended) return undefined;
      this.queue = [];
      this.taken = 0;
      const { done, value } = await this.source.next();
      if (done) {
        this.ended = true;
        this.reader.end();
      } else this.reader.feed(value);
    }
    return this.queue[this.taken++];
  }

  async close(): Promise<void> {
    await this.source.return?.();
  }

  entry(entry: TarEntry): void {
    this.queue.push({ kind: "entry", entry });
  }

  data(bytes: Buffer): void {
    this.queue.push({ kind: "data", bytes });
  }

  entryEnd(): void {
    this.queue.push({ kind: "end" });
  }
}
