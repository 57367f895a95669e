import { fcntl } from "@longshore/syscalls";
import { attributeText, parseAttributes } from "./attributes.ts";
import { type NetlinkReply, parseReplies } from "./message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import { familyName, NFGENMSG_BYTES, type NftTable } from "./nftables-requests.ts";

const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWGEN = 15;
const NFTA_TABLE = 1;
const F_DUPFD_CLOEXEC = 1030;

/** Something in a table was added, changed or deleted. */
export interface NftChange {
  readonly table: NftTable;
  /** Of the socket by which it was done, see `NftablesSocket.portId`. */
  readonly portId: number;
}

/**
 * Be told what is changed in nftables of the thread's network namespace, by whomever, one call for each transaction.
 *
 * @param onChanges undefined: more has been changed than the kernel could keep for us
 */
export async function watchNftables(
  onChanges: (changes: readonly NftChange[] | undefined) => void,
): Promise<Disposable> {
  const watch = new NftablesWatch(onChanges);
  await watch.listen();
  return watch;
}

class NftablesWatch implements Disposable {
  readonly #onChanges: (changes: readonly NftChange[] | undefined) => void;
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);
  #connection: Bun.Socket | undefined;
  #closed = false;

  constructor(onChanges: (changes: readonly NftChange[] | undefined) => void) {
    this.#onChanges = onChanges;
    this.#socket.join(NFNLGRP_NFTABLES);
  }

  /** The event loop is given a copy of the socket as if it were a connection; it ends when the socket has lost messages. */
  async listen(): Promise<void> {
    const socket = {
      data: (_: unknown, data: Buffer) => this.#take(data),
      close: () => {
        if (this.#closed) return;
        this.#onChanges(undefined);
        void this.listen();
      },
    };
    const fd = fcntl(this.#socket.fd, F_DUPFD_CLOEXEC);
    this.#connection = await Bun.connect({ fd, socket } as unknown as Bun.UnixSocketOptions);
    if (this.#closed) this.#connection.terminate();
  }

  #take(data: Buffer): void {
    const changes = parseReplies(data).flatMap(changeOf);
    if (changes.length > 0) this.#onChanges(changes);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#connection?.terminate();
    this.#socket[Symbol.dispose]();
  }
}

function changeOf(reply: NetlinkReply): NftChange[] {
  if (reply.is !== "data" || reply.type >> 8 !== NFNL_SUBSYS_NFTABLES) return [];
  if ((reply.type & 0xff) === NFT_MSG_NEWGEN) return [];
  const family = familyName(reply.body[0] ?? 0);
  const name = attributeText(parseAttributes(reply.body.subarray(NFGENMSG_BYTES)).get(NFTA_TABLE));
  return family && name !== undefined ? [{ table: { family, name }, portId: reply.portId }] : [];
}
