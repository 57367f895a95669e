import { Errno } from "@longshore/errors";
import { errnoName } from "@longshore/syscalls";
import {
  type LinkAddress,
  listAddresses,
  listRoutes,
  parseAddress,
  parseRoute,
  type Route,
} from "./address.ts";
import { NetlinkWriter } from "./attributes.ts";
import { getLink, type Link, listLinks, parseLink, RTM_NEWLINK } from "./link.ts";
import { type NetlinkReply, type NetlinkRequest, parseReplies, writeRequest } from "./message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";

const NETLINK_ROUTE = 0;
const ENODEV = 19;

type Result = Extract<NetlinkReply, { is: "result" }>;

/**
 * Links, addresses and routes of one network namespace: the one the thread is in when this is made. Synchronous; a
 * call lasts as long as the kernel's rtnl lock is held by others.
 */
export class RouteSocket implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK_ROUTE);
  #sequence = 0;

  /**
   * Run requests in order, in one system call. The kernel goes on after a failed one: put only those together of which
   * the later fail by themselves or do no harm.
   *
   * @throws Errno for the first that failed, with what it was and the kernel's reason
   */
  run(...requests: NetlinkRequest[]): void {
    const results = this.#send(requests);
    for (const [position, request] of requests.entries()) {
      const result = results[position];
      if (result && result.errno !== 0) throw failure(request, result.errno, result.reason);
    }
  }

  /** The interface of this name, or undefined. */
  link(name: string): Link | undefined {
    const request = getLink(name);
    let link: Link | undefined;
    const [result] = this.#send([request], (reply) => {
      if (reply.type === RTM_NEWLINK) link = parseLink(reply.body);
    });
    if (result && result.errno !== 0 && result.errno !== ENODEV)
      throw failure(request, result.errno, result.reason);
    return link;
  }

  links(): Link[] {
    return this.#dump(listLinks, parseLink);
  }

  addresses(): LinkAddress[] {
    return this.#dump(listAddresses, parseAddress);
  }

  routes(): Route[] {
    return this.#dump(listRoutes, parseRoute).filter((route) => route !== undefined);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  /** The result of each request, in order. */
  #send(
    requests: readonly NetlinkRequest[],
    onData: (reply: Extract<NetlinkReply, { is: "data" }>) => void = () => {},
  ): Result[] {
    const writer = new NetlinkWriter();
    const first = this.#sequence + 1;
    for (const request of requests) writeRequest(writer, request, ++this.#sequence);
    this.#socket.send(writer.written);

    const results: Result[] = [];
    while (results.length < requests.length) {
      for (const reply of parseReplies(this.#socket.receive())) {
        if (reply.sequence < first) continue;
        if (reply.is === "result") results[reply.sequence - first] = reply;
        else if (reply.is === "data") onData(reply);
      }
    }
    return results;
  }

  #dump<T>(request: NetlinkRequest, parse: (body: Uint8Array) => T): T[] {
    const writer = new NetlinkWriter();
    const sequence = ++this.#sequence;
    writeRequest(writer, request, sequence);
    this.#socket.send(writer.written);

    const found: T[] = [];
    for (;;) {
      for (const reply of parseReplies(this.#socket.receive())) {
        if (reply.sequence !== sequence) continue;
        if (reply.is === "data") found.push(parse(reply.body));
        else if (reply.errno !== 0) throw failure(request, reply.errno);
        else return found;
      }
    }
  }
}

function failure(request: NetlinkRequest, errno: number, reason = ""): Errno {
  return new Errno(errnoName(errno), errno, request.what, reason && `(${reason})`);
}
