import { Errno } from "@longshore/errors";
import { errnoName } from "@longshore/syscalls";
import { NetlinkWriter } from "./attributes.ts";
import {
  type NetlinkReply,
  type NetlinkRequest,
  NLM_F_ACK,
  NLM_F_DUMP_INTR,
  parseReplies,
  writeRequest,
} from "./message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import {
  getChain,
  listRules,
  type NftRule,
  type NftTable,
  parsePolicy,
  parseRule,
} from "./nftables-requests.ts";
import {
  getSet,
  listSet,
  type NftElement,
  type NftField,
  type NftSet,
  parseElements,
  parseSetLinks,
} from "./nftables-sets.ts";

const NETLINK_NETFILTER = 12;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFNL_SUBSYS_NFTABLES = 10;
const ENOENT = 2;
/** Of reading a list anew because others changed it meanwhile; then what was read last is good enough. */
const LIST_ATTEMPTS = 5;

type Result = Extract<NetlinkReply, { is: "result" }>;
type DataReply = Extract<NetlinkReply, { is: "data" }>;

/**
 * nftables of one network namespace: the one the thread is in when this is made. Synchronous. It asks the kernel only
 * for what it is asked for, and takes nothing for granted in what others have put there.
 */
export class NftablesSocket implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);
  #sequence = 0;

  /** Of what is done by this one, as `watchNftables` tells it. */
  get portId(): number {
    return this.#socket.portId;
  }

  /**
   * Change something, as one transaction: all of it is done, or nothing.
   *
   * @throws Errno for the first request that failed, with what it was and the kernel's reason
   */
  commit(requests: readonly NetlinkRequest[]): void {
    const begin = batchMark("begin transaction", NFNL_MSG_BATCH_BEGIN);
    const end = batchMark("end transaction", NFNL_MSG_BATCH_END);
    const writer = new NetlinkWriter(4096);
    const first = this.#sequence + 1;
    const all = [begin, ...requests, end];
    const last = first + requests.length;
    for (const request of all) {
      const sequence = ++this.#sequence;
      // The kernel answers the last, and each that fails: more answers than the socket holds would be lost.
      const flags = sequence === last ? request.flags | NLM_F_ACK : request.flags & ~NLM_F_ACK;
      writeRequest(writer, { ...request, flags }, sequence);
    }
    this.#socket.send(writer.written);
    if (requests.length === 0) return;

    // The begin is answered only when the transaction as a whole could not be.
    let failure: Result | undefined;
    for (let ended = false; !ended; ) {
      const datagram = this.#socket.receiveUnlessLost();
      // So many failures that the socket could not hold all: the first ones are there, the last answer may be not.
      for (const reply of parseReplies(datagram ?? this.#socket.receive())) {
        if (reply.is !== "result" || reply.sequence < first) continue;
        if (reply.errno !== 0) failure ??= reply;
        ended ||= !datagram || reply.sequence === first || reply.sequence === last;
      }
      if (!datagram) this.#socket.drain();
    }
    if (failure) throw failureOf(all[failure.sequence - first] ?? begin, failure);
  }

  /** Whether there is such a set. */
  hasSet(table: NftTable, set: string): boolean {
    return this.#get(getSet(table, set), () => {});
  }

  /** What becomes of packets that no rule of a chain decides on; undefined when there is no such base chain. */
  policy(table: NftTable, chain: string): "accept" | "drop" | undefined {
    let policy: ReturnType<typeof parsePolicy>;
    this.#get(getChain(table, chain), (body) => {
      policy = parsePolicy(body);
    });
    return policy;
  }

  /** The rules of a chain in order; undefined when there is no such chain. */
  rules(table: NftTable, chain: string): NftRule[] | undefined {
    if (!this.#get(getChain(table, chain), () => {})) return undefined;
    return this.#list(listRules(table, chain), parseRule);
  }

  /** The elements of a set or a map of this type; none when there is none. */
  elements<K extends readonly NftField[], V extends readonly NftField[]>(
    table: NftTable,
    set: NftSet<K, V>,
  ): NftElement<K, V>[] {
    // The kernel's table grows and shrinks in the background; what is read meanwhile can come twice, and of what doesn't
    // fit one message some can be missed.
    let before: ReadonlyMap<string, unknown> | undefined;
    for (let attempt = 1; ; attempt++) {
      const messages = this.#list(listSet(table, set.name), (body) => parseElements(body, set));
      const found = new Map(messages.flat().map((element) => [element.key.join(), element]));
      const agrees = before?.size === found.size && found.keys().every((key) => before?.has(key));
      if (messages.length <= 1 || agrees || attempt === LIST_ATTEMPTS) return [...found.values()];
      before = found;
    }
  }

  /** The elements of a set of names of interfaces; none when there is no such set. */
  setLinks(table: NftTable, set: string): string[] {
    return this.#list(listSet(table, set), parseSetLinks).flat();
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  /** Ask for one object. Returns whether it exists. */
  #get(request: NetlinkRequest, onData: (body: Uint8Array) => void): boolean {
    let result: Result | undefined;
    this.#ask(request, (reply) => {
      if (reply.is === "data") onData(reply.body);
      else if (reply.is === "result") result = reply;
      return reply.is === "result";
    });
    if (result && result.errno !== 0 && result.errno !== ENOENT) throw failureOf(request, result);
    return result?.errno === 0;
  }

  /** Ask for a list; it is empty when what holds it doesn't exist. */
  #list<T>(request: NetlinkRequest, parse: (body: Uint8Array) => T): T[] {
    for (let attempt = 1; ; attempt++) {
      const found: T[] = [];
      let changed = false;
      let failed: Exclude<NetlinkReply, DataReply> | undefined;
      this.#ask(request, (reply) => {
        if (reply.is !== "data") {
          if (reply.errno !== 0) failed = reply;
          return true;
        }
        changed ||= (reply.flags & NLM_F_DUMP_INTR) !== 0;
        found.push(parse(reply.body));
        return false;
      });
      if (failed && failed.errno !== ENOENT) throw failureOf(request, failed);
      if (!changed || attempt === LIST_ATTEMPTS) return found;
    }
  }

  /** Send one request and take its replies until `take` says that it was the last. */
  #ask(request: NetlinkRequest, take: (reply: NetlinkReply) => boolean): void {
    const writer = new NetlinkWriter();
    const sequence = ++this.#sequence;
    writeRequest(writer, request, sequence);
    this.#socket.send(writer.written);
    for (let ended = false; !ended; )
      for (const reply of parseReplies(this.#socket.receive()))
        if (reply.sequence === sequence) ended = take(reply) || ended;
  }
}

/** What a transaction starts or ends with: `struct nfgenmsg` with the number of its subsystem, big-endian. */
function batchMark(what: string, type: number): NetlinkRequest {
  return {
    what,
    type,
    flags: 0,
    body: (writer) =>
      writer
        .u8(0)
        .u8(0)
        .u16(NFNL_SUBSYS_NFTABLES << 8),
  };
}

function failureOf(request: NetlinkRequest, { errno, ...rest }: Exclude<NetlinkReply, DataReply>): Errno {
  const reason = "reason" in rest && rest.reason ? `(${rest.reason})` : "";
  return new Errno(errnoName(errno), errno, `nftables: ${request.what}`, reason);
}
