import { AnswerCache, type CacheOptions } from "./cache.ts";
import { askByTcp, askByUdp, type Endpoint, type Inquiry, parseEndpoint } from "./exchange.ts";
import { FLAG, type Message, RCODE, writeMessage } from "./message.ts";

export interface ForwarderOptions {
  readonly cache?: CacheOptions;
  /** How long one server has before the next is asked as well. */
  readonly attemptMs?: number;
  /** How often each is asked that doesn't answer. */
  readonly rounds?: number;
  /** How many questions other servers are asked at a time; further ones wait. */
  readonly maxAsked?: number;
  readonly maxWaiting?: number;
}

/** A server that hasn't answered comes after the others for so long. */
const SLOW_MS = 30_000;
const MAX_SLOW = 256;
/** Who asked has given up by then. */
const MAX_WAIT_MS = 5000;

/**
 * Asks other servers, several at once for the same only once, and keeps their answers as long as they may be kept. An answer is the
 * bytes of a message without id and without an OPT record; whoever gets it may change it.
 */
export class Forwarder implements Disposable {
  readonly #cache: AnswerCache;
  readonly #attemptMs: number;
  readonly #rounds: number;
  readonly #maxAsked: number;
  readonly #maxWaiting: number;
  readonly #asked = new Map<string, Promise<Buffer | undefined>>();
  readonly #waiting: (() => void)[] = [];
  readonly #running = new Set<AbortController>();
  readonly #slowUntil = new Map<string, number>();
  #closed = false;

  constructor(options: ForwarderOptions = {}) {
    const { cache, attemptMs = 1500, rounds = 2, maxAsked = 512, maxWaiting = 16_384 } = options;
    this.#cache = new AnswerCache(cache);
    this.#attemptMs = attemptMs;
    this.#rounds = rounds;
    this.#maxAsked = maxAsked;
    this.#maxWaiting = maxWaiting;
  }

  get cache(): AnswerCache {
    return this.#cache;
  }

  /** The answer, at once when it is known; undefined when no server has one. */
  ask(inquiry: Inquiry, servers: readonly string[]): Buffer | undefined | Promise<Buffer | undefined> {
    if (servers.length === 0 || this.#closed) return undefined;
    const { question, dnssecOk, checkingDisabled } = inquiry;
    const bits = (dnssecOk ? 2 : 0) + (checkingDisabled ? 1 : 0);
    const name = question.name.toLowerCase();
    const key = `${question.type} ${question.class} ${bits} ${name} ${servers.join()}`;
    const known = this.#cache.get(key, performance.now());
    if (known) return known;
    let answer = this.#asked.get(key);
    if (!answer) {
      if (this.#running.size >= this.#maxAsked && this.#waiting.length >= this.#maxWaiting) return undefined;
      answer = this.#fetch(key, inquiry, servers).finally(() => this.#asked.delete(key));
      this.#asked.set(key, answer);
    }
    return answer.then((bytes) => bytes && Buffer.from(bytes));
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const controller of this.#running) controller.abort();
    for (const go of this.#waiting.splice(0)) go();
    this.#cache.clear();
  }

  async #fetch(key: string, inquiry: Inquiry, servers: readonly string[]): Promise<Buffer | undefined> {
    using controller = await this.#turn();
    if (!controller) return undefined;
    const answer = await this.#askInOrder(inquiry, this.#byHealth(servers), controller);
    if (!answer || answer.rcode > 0xf) return undefined;
    const { edns: _, ...plain } = answer;
    try {
      const written = writeMessage({ ...plain, id: 0, questions: [inquiry.question] });
      if (!written.truncated) this.#cache.set(key, answer, written, performance.now());
      return written.bytes;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return undefined;
    }
  }

  /** A place among those that are asked; undefined when it took too long. */
  async #turn(): Promise<(AbortController & Disposable) | undefined> {
    const since = performance.now();
    if (this.#running.size >= this.#maxAsked) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    }
    if (this.#closed) return undefined;
    if (performance.now() - since > MAX_WAIT_MS) {
      this.#waiting.shift()?.();
      return undefined;
    }
    const controller = new AbortController();
    this.#running.add(controller);
    return Object.assign(controller, {
      [Symbol.dispose]: () => {
        this.#running.delete(controller);
        this.#waiting.shift()?.();
      },
    });
  }

  #byHealth(servers: readonly string[]): string[] {
    const now = performance.now();
    const isSlow = (server: string): boolean => (this.#slowUntil.get(server) ?? 0) > now;
    return [...servers.filter((server) => !isSlow(server)), ...servers.filter(isSlow)];
  }

  /**
   * Ask the servers in order until one answers. One that takes its time may still be the first to answer, and is asked again when
   * all have had their turn, as its packet may be lost. Of those that only say that they failed, the first has its say.
   */
  #askInOrder(
    inquiry: Inquiry,
    servers: readonly string[],
    controller: AbortController,
  ): Promise<Message | undefined> {
    const { promise, resolve } = Promise.withResolvers<Message | undefined>();
    const turns = Array.from({ length: this.#rounds }, () => servers).flat();
    const answered = new Set<string>();
    let pending = 0;
    let latest = "";
    let failure: Message | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;

    const next = (): void => {
      clearTimeout(timer);
      while (turns.length > 0) {
        const server = turns.shift() ?? "";
        const endpoint = answered.has(server) ? undefined : parseEndpoint(server);
        if (!endpoint) continue;
        pending++;
        latest = server;
        // What is not expected, such as having no descriptors left, is a server that doesn't answer.
        void askServer(endpoint, inquiry, controller.signal).then(
          (answer) => settle(server, answer),
          () => settle(server, undefined),
        );
        timer = setTimeout(() => {
          this.#markSlow(server);
          next();
        }, this.#attemptMs);
        return;
      }
      if (pending === 0) resolve(failure);
      else timer = setTimeout(() => resolve(failure), this.#attemptMs);
    };
    const settle = (server: string, answer: Message | undefined): void => {
      pending--;
      answered.add(server);
      if (answer) this.#slowUntil.delete(server);
      else if (!controller.signal.aborted) this.#markSlow(server);
      if (answer && isAnswer(answer)) resolve(answer);
      failure ??= answer;
      // Others may still answer, but nobody waits for the one that was asked last.
      if (pending === 0 || server === latest) next();
    };
    controller.signal.addEventListener("abort", () => resolve(undefined));
    next();
    return promise.finally(() => {
      clearTimeout(timer);
      turns.length = 0;
      controller.abort();
    });
  }

  #markSlow(server: string): void {
    if (this.#slowUntil.size >= MAX_SLOW) this.#slowUntil.clear();
    this.#slowUntil.set(server, performance.now() + SLOW_MS);
  }
}

const isAnswer = ({ rcode }: Message): boolean => rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN;

/** One server's answer: by UDP, by TCP when that was cut off, and once without EDNS for those that don't know it. */
async function askServer(
  server: Endpoint,
  inquiry: Inquiry,
  signal: AbortSignal,
): Promise<Message | undefined> {
  const answer = await askByUdp(server, inquiry, signal);
  if (!answer) return undefined;
  const strange = answer.rcode === RCODE.FORMERR || answer.rcode === RCODE.NOTIMP;
  if (strange && !answer.edns && inquiry.withoutEdns !== true)
    return askServer(server, { ...inquiry, withoutEdns: true }, signal);
  return (answer.flags & FLAG.TRUNCATED) === 0 ? answer : askByTcp(server, inquiry, signal);
}
