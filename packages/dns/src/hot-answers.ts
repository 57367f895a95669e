import type { Datagrams } from "@longshore/syscalls";

/** So many queries, each with room for so many words of its bytes and of its answer's. */
const PLACES = 1024;
const QUERY_WORDS = 32;
const ANSWER_WORDS = 94;
const HEAD_WORDS = 6;
const PLACE_WORDS = HEAD_WORDS + QUERY_WORDS + ANSWER_WORDS;
/** What is in the words before them. */
const [HASH, EPOCH, LISTENER, CLIENT, QUERY_BYTES, ANSWER_BYTES] = [0, 1, 2, 3, 4, 5];
const HEADER_BYTES = 12;
const AF_INET = 2;

/** Who asks, as numbers. */
export interface HotListener {
  /** Of this one alone. */
  readonly number: number;
  /** Whoever asks here gets the same answers. */
  readonly isOfOne: boolean;
}

/**
 * Answers that are asked for now, as bytes: a query that is the same but for its id, of the same client, has the same answer as long as the
 * epoch is the same. It is found, and written over the query, without a look at what the bytes mean, and without an object.
 */
export class HotAnswers {
  /** 540 kB, of which the kernel gives what is used. */
  readonly #table = new Uint32Array(PLACES * PLACE_WORDS);

  /** Write the answer over the message at a place. @returns its length; 0 when it isn't known */
  answer(messages: Datagrams, place: number, listener: HotListener, epoch: number): number {
    const length = messages.lengthAt(place);
    const client = clientOf(messages, place, listener);
    if (client === undefined || length < HEADER_BYTES || length > 4 * QUERY_WORDS) return 0;
    const { words } = messages;
    const table = this.#table;
    const at = (place * messages.size) >> 2;
    const count = endWithZeros(messages, place, length);
    const hash = hashOf(words, at, count, client);
    const entry = (hash & (PLACES - 1)) * PLACE_WORDS;
    if (table[entry + HASH] !== hash || table[entry + EPOCH] !== epoch) return 0;
    if (table[entry + LISTENER] !== listener.number || table[entry + CLIENT] !== client) return 0;
    if (table[entry + QUERY_BYTES] !== length) return 0;
    const query = entry + HEAD_WORDS;
    // The id is in the lower half of the first word.
    if ((table[query] ?? 0) >>> 16 !== (words[at] ?? 0) >>> 16) return 0;
    for (let word = 1; word < count; word++) if (table[query + word] !== words[at + word]) return 0;
    const answer = query + QUERY_WORDS;
    const bytes = table[entry + ANSWER_BYTES] ?? 0;
    words[at] = ((words[at] ?? 0) & 0xffff) | ((table[answer] ?? 0) & 0xffff_0000);
    for (let word = (bytes + 3) >> 2; --word > 0; ) words[at + word] = table[answer + word] ?? 0;
    return bytes;
  }

  /** Keep the answer to the message at a place, unless one of them is too long, in the place of what has the same place. */
  keep(
    messages: Datagrams,
    { place, listener, epoch }: { place: number; listener: HotListener; epoch: number },
    answer: Uint8Array,
  ): void {
    const length = messages.lengthAt(place);
    const client = clientOf(messages, place, listener);
    if (client === undefined || length < HEADER_BYTES || length > 4 * QUERY_WORDS) return;
    if (answer.length > Math.min(4 * ANSWER_WORDS, messages.size)) return;
    const { words } = messages;
    const at = (place * messages.size) >> 2;
    const count = endWithZeros(messages, place, length);
    const hash = hashOf(words, at, count, client);
    const entry = (hash & (PLACES - 1)) * PLACE_WORDS;
    this.#table.set([hash, epoch, listener.number, client, length, answer.length], entry);
    const query = entry + HEAD_WORDS;
    this.#table.set(words.subarray(at, at + count), query);
    new Uint8Array(this.#table.buffer).set(answer, 4 * (query + QUERY_WORDS));
  }
}

/** An IPv4 address as a number, or 0 where it doesn't matter; undefined for others. */
function clientOf({ peers }: Datagrams, place: number, { isOfOne }: HotListener): number | undefined {
  if (isOfOne) return 0;
  return ((peers[8 * place] ?? 0) & 0xffff) === AF_INET ? peers[8 * place + 1] : undefined;
}

/** @returns in how many words the message is; in the last there is nothing else */
function endWithZeros({ bytes, size }: Datagrams, place: number, length: number): number {
  const end = (length + 3) & ~3;
  for (let at = length; at < end; at++) bytes[place * size + at] = 0;
  return end >> 2;
}

/** FNV-1a by words, of all but the id; its upper bits get into the lower ones. */
function hashOf(words: Uint32Array, at: number, count: number, client: number): number {
  let hash = Math.imul(0x811c9dc5 ^ client, 0x01000193);
  hash = Math.imul(hash ^ ((words[at] ?? 0) >>> 16), 0x01000193);
  for (let word = 1; word < count; word++) hash = Math.imul(hash ^ (words[at + word] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
