import { channelTo } from "@longshore/rpc";

type Channel = ReturnType<typeof channelTo>;

/**
 * Connections to one containerd: a shared one for calls, and one for each blob being written.
 *
 * A Go server enlarges its receive windows as it sees data arrive (gRPC's bandwidth estimator) and announces that in
 * SETTINGS. Bun's HTTP/2 client does not add the difference to the windows of open streams, as RFC 9113 6.9.2 wants, and a
 * long write then waits for ever. The estimator acts when it has seen two thirds of 64 KiB between a ping and its answer; a
 * connection on which one writer at a time has {@link WRITE_BYTES} in flight stays below that.
 */
export class ContainerdChannels implements Disposable {
  readonly shared: Channel;
  /** Whether it lets us write files by ourselves; undefined until one was asked for. */
  localWrites: boolean | undefined;
  readonly #address: string;
  readonly #idle: Channel[] = [];
  readonly #all: Channel[];

  constructor(address: string) {
    this.#address = address;
    this.shared = channelTo(address);
    this.#all = [this.shared];
  }

  /** A connection of one's own, until it is given back. */
  take(): Channel {
    const idle = this.#idle.pop();
    if (idle) return idle;
    const channel = channelTo(this.#address, { ownConnection: true });
    this.#all.push(channel);
    return channel;
  }

  giveBack(channel: Channel): void {
    this.#idle.push(channel);
  }

  [Symbol.dispose](): void {
    for (const channel of this.#all) channel.close();
  }
}

/** What one message of a blob's write carries. */
export const WRITE_BYTES = 32 << 10;
