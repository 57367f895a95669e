import { ConntrackSocket, type TrackedConnection } from "@longshore/netlink";
import type { PublishedPort } from "./ruleset.ts";

const UDP = 17;

/**
 * Where the packets of a client go is decided with its first. One of UDP that goes on sending would never find a port that is published, or
 * leads elsewhere, after that: the kernel is told to forget it.
 */
export class StaleConnections implements Disposable {
  readonly #socket = new ConntrackSocket();

  /** Those by UDP that go to these ports of the host and aren't led to a container, or are led to one of these containers. */
  forget(ports: readonly PublishedPort[]): void {
    const own = ports.filter(({ protocol }) => protocol === "udp");
    if (own.length === 0) return;
    const hostPorts = new Set(own.map(({ hostPort }) => hostPort));
    const targets = new Set(own.map(({ address, port }) => `${address.join(".")}/${port}`));
    this.#socket.forget(UDP, ({ original, reply }) =>
      isTranslated({ original, reply })
        ? targets.has(`${reply.source}/${reply.sourcePort}`)
        : hostPorts.has(original.destinationPort),
    );
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

function isTranslated({ original, reply }: TrackedConnection): boolean {
  return original.destination !== reply.source || original.source !== reply.destination;
}
