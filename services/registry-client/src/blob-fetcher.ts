import { EngineError, errorCode } from "@longshore/errors";
import { type OpenBlob, readBlob } from "./blob-reader.ts";
import { type ContentStore, ingestRef } from "./content-store.ts";
import type { Ingest } from "./ingest.ts";
import { type Labels, sourceLabel } from "./labels.ts";
import type { Descriptor } from "./manifest.ts";
import { isNondistributable } from "./media-types.ts";
import { pause } from "./registry/http.ts";
import type { BlobAnswer, Repository } from "./registry/repository.ts";
import { backoff } from "./registry/retry.ts";
import { Semaphore, tryAcquireAll } from "./semaphore.ts";
import type { DownloadLimits } from "./transfers.ts";

export type BlobState = "pending" | "downloading" | "verifying" | "complete" | "exists";

export interface BlobProgress {
  readonly digest: string;
  readonly state: BlobState;
  /** Bytes held so far, of `total`. */
  readonly offset: number;
  readonly total: number;
}

export interface BlobJob {
  descriptor: Descriptor;
  repository: Repository;
  store: ContentStore;
  report: (progress: BlobProgress) => void;
  limits?: DownloadLimits | undefined;
}

/** One download and everybody who waits for it. */
interface Flight {
  done: Promise<void>;
  abort: AbortController;
  watchers: Set<BlobJob["report"]>;
  latest: BlobProgress | undefined;
}

/** The hash of an interrupted ingest's first bytes, so that a resumed blob is still checked whole. */
interface HashState {
  offset: number;
  hasher: Bun.CryptoHasher;
}

const ATTEMPTS_WITHOUT_PROGRESS = 5;
const ATTEMPTS = 50;
const REMEMBERED_HASHES = 64;
/** For further ranges of large blobs: each holds some megabytes. */
const EXTRA_CONNECTIONS = 4;

export interface BlobFetcherOptions {
  /** Downloads at once. */
  parallel?: number;
  /** The first pause after a broken download. */
  backoffMs?: number;
}

/** Brings blobs from repositories into content stores: a few at once, and each once however many want it. */
export class BlobFetcher {
  readonly #slots: Semaphore;
  readonly #extra = new Semaphore(EXTRA_CONNECTIONS);
  readonly #backoffMs: number;
  readonly #flights = new Map<string, Flight>();
  readonly #hashes = new Map<string, HashState>();

  constructor({ parallel = 3, backoffMs = 500 }: BlobFetcherOptions = {}) {
    this.#slots = new Semaphore(parallel);
    this.#backoffMs = backoffMs;
  }

  /**
   * Have a blob in the store, labelled and under the store's lease. When the signal is aborted it stops waiting, and the
   * download itself stops when nobody is left; what has arrived stays in the store's ingest.
   *
   * @throws EngineError `data_loss` when the registry's bytes have another digest or length
   */
  async fetch(job: BlobJob, signal: AbortSignal): Promise<void> {
    const { descriptor, store, repository, report } = job;
    const { digest, size } = descriptor;
    const { domain, path } = repository.reference;
    const labelsFor = (existing: Labels) => sourceLabel(domain, path, existing);
    for (;;) {
      if (await store.adopt(digest, labelsFor, signal)) {
        report({ digest, state: "exists", offset: size, total: size });
        return;
      }
      const key = `${store.namespace} ${digest}`;
      const running = this.#flights.get(key);
      const flight = running ?? this.#start(key, job, labelsFor({}));
      try {
        await this.#join(flight, report, signal);
      } catch (error) {
        // Somebody else's attempt, with his credentials and repository, says nothing about ours.
        if (!running || signal.aborted) throw error;
        continue;
      }
      if (!running || (await store.adopt(digest, labelsFor, signal))) return;
    }
  }

  #start(key: string, job: BlobJob, labels: Labels): Flight {
    const abort = new AbortController();
    const flight: Flight = { done: Promise.resolve(), abort, watchers: new Set(), latest: undefined };
    const report = (progress: BlobProgress) => {
      flight.latest = progress;
      for (const watcher of flight.watchers) watcher(progress);
    };
    flight.done = this.#download({ ...job, report }, labels, abort.signal).finally(() => {
      this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }

  async #join(flight: Flight, report: BlobJob["report"], signal: AbortSignal): Promise<void> {
    flight.watchers.add(report);
    if (flight.latest) report(flight.latest);
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    try {
      await Promise.race([flight.done, left.promise]);
    } finally {
      signal.removeEventListener("abort", leave);
      flight.watchers.delete(report);
      if (flight.watchers.size === 0) flight.abort.abort(signal.reason);
      flight.done.catch(() => undefined); // whoever still waits gets its error
    }
  }

  async #download(job: BlobJob, labels: Labels, signal: AbortSignal): Promise<void> {
    const { descriptor, store, report } = job;
    const { digest, size } = descriptor;
    const slots = job.limits?.slots ?? this.#slots;
    const free = slots.tryAcquire();
    if (!free) report({ digest, state: "pending", offset: 0, total: size });
    using _slot = free ?? (await slots.acquire(signal));
    for (let restarted = false; ; restarted = true) {
      const ingest = await store.ingest(descriptor, signal);
      if (ingest === "exists") break;
      const resumed = ingest.offset > 0;
      try {
        await this.#fill(ingest, job, signal);
        report({ digest, state: "verifying", offset: size, total: size });
        await this.#verify(ingest, job);
        if ((await ingest.commit(labels)) === "exists") await store.adopt(digest, () => labels, signal);
        break;
      } catch (error) {
        await ingest.close();
        if (signal.aborted || !isCorrupt(error)) throw error;
        await store.abort(descriptor);
        this.#hashes.delete(this.#hashKey(job));
        // The bytes that were there before may be the bad ones: once more from the start.
        if (!resumed || restarted) throw error;
      } finally {
        await ingest.close();
      }
    }
    report({ digest, state: "complete", offset: size, total: size });
  }

  /** Download what the ingest lacks, going on after broken connections. */
  async #fill(ingest: Ingest, job: BlobJob, signal: AbortSignal): Promise<void> {
    const { descriptor, report } = job;
    const { digest, size } = descriptor;
    if (ingest.offset > size) throw tooLong(descriptor);
    let idle = 0;
    for (let attempt = 1; ingest.offset < size; attempt += 1) {
      report({ digest, state: "downloading", offset: ingest.offset, total: size });
      const before = ingest.offset;
      const progress = { answered: false };
      try {
        await this.#stream(ingest, job, progress, signal);
      } catch (error) {
        // A registry that does not answer has been asked several times already.
        if (signal.aborted || ingest.failed || !progress.answered || errorCode(error) !== "unavailable")
          throw error;
        idle = ingest.offset > before ? 1 : idle + 1;
        const most = job.limits?.attempts;
        if (most === undefined ? idle >= ATTEMPTS_WITHOUT_PROGRESS || attempt >= ATTEMPTS : attempt >= most)
          throw error;
        await pause(backoff(idle, this.#backoffMs), signal);
      }
    }
  }

  async #stream(
    ingest: Ingest,
    job: BlobJob,
    progress: { answered: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { descriptor, report } = job;
    const { digest, size } = descriptor;
    const pieces = new Pieces();
    const flush = async () => {
      const data = pieces.take();
      if (data.length === 0) return;
      await ingest.write(data);
      this.#hash(job, ingest.offset - data.length, data);
      report({ digest, state: "downloading", offset: ingest.offset, total: size });
    };
    const open: OpenBlob = async (range, openSignal) => {
      const answer = await openBlob(job, range, openSignal);
      progress.answered = true;
      return answer;
    };
    // Whatever the caller allows: each holds some megabytes.
    const extra = [this.#extra, ...(job.limits?.slots ? [job.limits.slots] : [])];
    const options = {
      ...{ offset: ingest.offset, size, attempts: job.limits?.attempts, signal },
      extra: () => tryAcquireAll(extra),
    };
    try {
      for await (const piece of readBlob(open, options)) {
        pieces.add(piece);
        if (pieces.length >= ingest.writeBytes) await flush();
      }
    } catch (error) {
      // What has arrived is kept: the next attempt starts behind it.
      if (!signal.aborted && !ingest.failed && errorCode(error) === "unavailable") await flush();
      if (error instanceof EngineError && !error.message.includes(digest)) {
        throw new EngineError(error.code, `blob ${digest}: ${error.message}`, { cause: error });
      }
      throw error;
    }
    await flush();
  }

  #hash(job: BlobJob, offset: number, data: Uint8Array): void {
    const key = this.#hashKey(job);
    const state = offset === 0 ? newHash(job.descriptor.digest) : this.#hashes.get(key);
    // Bytes of an earlier process: the store, which has them all, checks alone.
    if (state?.offset !== offset) return;
    state.hasher.update(data);
    state.offset += data.length;
    this.#hashes.delete(key);
    this.#hashes.set(key, state);
    const [oldest] = this.#hashes.keys();
    if (oldest !== undefined && this.#hashes.size > REMEMBERED_HASHES) this.#hashes.delete(oldest);
  }

  async #verify(ingest: Ingest, job: BlobJob): Promise<void> {
    const { digest } = job.descriptor;
    const key = this.#hashKey(job);
    const state = this.#hashes.get(key);
    this.#hashes.delete(key);
    if (state?.offset !== ingest.offset) return;
    const actual = `${digest.slice(0, digest.indexOf(":"))}:${state.hasher.digest("hex")}`;
    if (actual !== digest) {
      throw new EngineError(
        "data_loss",
        `filesystem layer verification failed for digest ${digest}: the registry sent ${actual}`,
      );
    }
  }

  #hashKey({ store, descriptor }: BlobJob): string {
    return `${store.namespace} ${ingestRef(descriptor)}`;
  }
}

/** A layer that registries may not hold is had from where its manifest says, if the registry has not got it all the same. */
async function openBlob(
  { repository, descriptor }: BlobJob,
  range: Parameters<OpenBlob>[0],
  signal: AbortSignal,
): Promise<BlobAnswer> {
  try {
    return await repository.blob(descriptor.digest, range, signal);
  } catch (error) {
    const elsewhere = isNondistributable(descriptor.mediaType) && descriptor.urls !== undefined;
    if (!elsewhere || errorCode(error) !== "not_found") throw error;
    return repository.foreignBlob(descriptor, range, signal);
  }
}

/** Small pieces of a body, joined into writes of a useful size. */
class Pieces {
  #parts: Uint8Array[] = [];
  length = 0;

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.length += part.length;
  }

  take(): Buffer {
    const all = Buffer.concat(this.#parts);
    this.#parts = [];
    this.length = 0;
    return all;
  }
}

function newHash(digest: string): HashState {
  const algorithm = digest.slice(0, digest.indexOf(":")) as Bun.SupportedCryptoAlgorithms;
  return { offset: 0, hasher: new Bun.CryptoHasher(algorithm) };
}

function tooLong({ digest, size }: Descriptor): EngineError {
  return new EngineError(
    "data_loss",
    `blob ${digest} is longer than the ${size} bytes that its manifest says`,
  );
}

/** Bytes that can't become the blob: seen by us, by the registry's refusal to go on, or by the store's commit. */
function isCorrupt(error: unknown): boolean {
  return ["data_loss", "failed_precondition", "out_of_range"].includes(errorCode(error));
}
