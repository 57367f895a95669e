import { Datagrams } from "@longshore/syscalls";
import { HotAnswers, type HotListener } from "./hot-answers.ts";
import type { Answer, Resolver } from "./resolver.ts";

const AT_ONCE = 64;
/** Longer queries than this there are none. */
const MESSAGE_BYTES = 2048;
const AF_INET = 2;

/** A socket whose queries are answered. */
export interface DatagramListener extends HotListener {
  readonly fd: number;
  /** Whom all queries are taken to be from; their senders when left out. */
  readonly client: string | undefined;
  /** So many answers are still to come that nothing more is asked. */
  isFull(): boolean;
  /** Whether it is still this listener's turn. */
  hasTime(): boolean;
  /** Send an answer, sooner or later. */
  send(answer: Answer, port: number, address: string): void;
  /** Take care of an answer that is still to come. */
  later(answer: Promise<Answer>, port: number, address: string): void;
}

/** Answers queries by UDP, those that wait at a socket together. */
export class DatagramAnswers {
  readonly #resolver: Resolver;
  readonly #hot = new HotAnswers();
  #messages: Datagrams | undefined;
  /** Of the answers, by their places. */
  readonly #lengths = new Uint32Array(AT_ONCE);
  #version: number | undefined;
  #second = 0;
  #epoch = 0;

  constructor(resolver: Resolver) {
    this.#resolver = resolver;
  }

  /** Answer what waits at a socket, as long as it is its turn. */
  drain(listener: DatagramListener): void {
    this.#messages ??= new Datagrams({ count: AT_ONCE, size: MESSAGE_BYTES });
    const messages = this.#messages;
    do {
      const count = receive(messages, listener.fd);
      if (count === 0) return;
      const epoch = this.#now();
      for (let place = 0; place < count; place++) {
        const known = epoch === 0 ? 0 : this.#hot.answer(messages, place, listener, epoch);
        const length = known || this.#ask(messages, place, listener);
        this.#lengths[place] = length;
        if (length > 0) messages.queue(place, length);
      }
      for (const place of messages.send(listener.fd)) {
        const start = place * messages.size;
        const answer = Buffer.from(messages.bytes.subarray(start, start + (this.#lengths[place] ?? 0)));
        const { address, port } = peerAt(messages, place);
        listener.send(answer, port, address);
      }
      // The socket had no more.
      if (count < AT_ONCE) return;
    } while (listener.hasTime());
  }

  /** A number of what is known now; 0 when it is not to be kept. */
  #now(): number {
    const { version } = this.#resolver;
    const second = Math.floor(Date.now() / 1000);
    if (version !== this.#version || second !== this.#second) {
      this.#version = version;
      this.#second = second;
      this.#epoch = (this.#epoch % 0xffff_ffff) + 1;
    }
    return version === undefined ? 0 : this.#epoch;
  }

  /** Ask the resolver. @returns the length of the answer that is at the place now; 0 without one that is to be sent with the others */
  #ask(messages: Datagrams, place: number, listener: DatagramListener): number {
    if (listener.isFull()) return 0;
    const start = place * messages.size;
    const query = messages.bytes.subarray(start, start + messages.lengthAt(place));
    const { address, port } = peerAt(messages, place);
    const { turns } = this.#resolver;
    const answer = this.#resolver.answer(listener.client ?? address, query, "udp");
    if (answer instanceof Promise) {
      listener.later(answer, port, address);
      return 0;
    }
    if (!answer) return 0;
    if (this.#resolver.turns === turns)
      this.#hot.keep(messages, { place, listener, epoch: this.#now() }, answer);
    if (answer.length > messages.size) {
      listener.send(answer, port, address);
      return 0;
    }
    messages.bytes.set(answer, start);
    return answer.length;
  }
}

function receive(messages: Datagrams, fd: number): number {
  try {
    return messages.receive(fd);
  } catch {
    // What an earlier answer met with, of a client that is gone.
    return 0;
  }
}

function peerAt({ peers }: Datagrams, place: number): { address: string; port: number } {
  const bytes = Buffer.from(peers.buffer, peers.byteOffset + 32 * place, 32);
  const port = bytes.readUInt16BE(2);
  if (((peers[8 * place] ?? 0) & 0xffff) === AF_INET)
    return { address: bytes.subarray(4, 8).join("."), port };
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(8 + 2 * index).toString(16));
  return { address: groups.join(":"), port };
}
