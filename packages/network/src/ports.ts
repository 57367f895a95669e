import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import { bind, close, socket } from "@longshore/syscalls";
import { formatIpv4, type Ipv4, ipv4Bytes, parseIpv4 } from "./ipv4.ts";
import type { PortBinding, PortRequest } from "./types.ts";

const AF_INET = 2;
const SOCKETS = { tcp: 1, udp: 2 } as const;
const SOCK_CLOEXEC = 0x80000;
const ANY: Ipv4 = 0;
/** Where ports come from that nobody named, when the kernel doesn't say. */
const EPHEMERAL: readonly [number, number] = [32_768, 60_999];

/** Which ports of the host lead to which container, each held by a socket so that no other program takes it. */
export class PortReservations implements Disposable {
  /** By protocol, address and port. */
  readonly #held = new Map<string, number | undefined>();
  #next = 0;

  /**
   * Find a host port for each request and hold it. All or none.
   *
   * @throws EngineError `internal` in Docker's words for a port that is taken
   */
  reserve(requests: readonly PortRequest[]): PortBinding[] {
    const bindings: PortBinding[] = [];
    try {
      for (const request of requests) bindings.push(this.#reserveOne(request));
      return bindings;
    } catch (error) {
      this.release(bindings);
      throw error;
    }
  }

  /** Hold ports that an earlier process gave out: their containers run. Returns those that another program has. */
  restore(bindings: readonly PortBinding[]): PortBinding[] {
    return bindings.filter((binding) => {
      try {
        this.#hold(binding.protocol, parseIpv4(binding.hostIp) ?? ANY, binding.hostPort);
        return false;
      } catch {
        // It leads to the container all the same.
        this.#held.set(
          keyOf(binding.protocol, parseIpv4(binding.hostIp) ?? ANY, binding.hostPort),
          undefined,
        );
        return true;
      }
    });
  }

  release(bindings: readonly PortBinding[]): void {
    for (const { protocol, hostIp, hostPort } of bindings) {
      const key = keyOf(protocol, parseIpv4(hostIp) ?? ANY, hostPort);
      const fd = this.#held.get(key);
      if (fd !== undefined) close(fd);
      this.#held.delete(key);
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#held.values()) if (fd !== undefined) close(fd);
    this.#held.clear();
  }

  #reserveOne({ protocol, containerPort, hostIp, hostPorts }: PortRequest): PortBinding {
    const address = parseIpv4(hostIp) ?? ANY;
    const [first, last] = hostPorts ?? ephemeralRange();
    const anyOf = last - first + 1;
    // Ports that nobody named are handed out in turn; of a range that somebody named the first free one is taken.
    const start = hostPorts ? 0 : this.#next;
    let failure: unknown;
    for (let tried = 0; tried < anyOf; tried++) {
      const hostPort = first + ((start + tried) % anyOf);
      try {
        this.#hold(protocol, address, hostPort);
      } catch (error) {
        failure = error;
        continue;
      }
      if (!hostPorts) this.#next = (start + tried + 1) % anyOf;
      return { protocol, containerPort, hostIp: formatIpv4(address), hostPort };
    }
    if (anyOf === 1) throw failure;
    throw new EngineError("internal", "all ports are allocated");
  }

  #hold(protocol: PortBinding["protocol"], address: Ipv4, port: number): void {
    const shown = `${formatIpv4(address)}:${port}`;
    if (this.#isTaken(protocol, address, port))
      throw new EngineError("internal", `Bind for ${shown} failed: port is already allocated`);
    let fd: number | undefined;
    // Nothing listens on ports of other protocols but by the kernel's leave, which may lack them.
    if (protocol !== "sctp") {
      fd = socket(AF_INET, SOCKETS[protocol] | SOCK_CLOEXEC);
      try {
        bind(fd, socketAddress(address, port));
      } catch (error) {
        close(fd);
        if (isErrno(error, "EADDRINUSE"))
          throw new EngineError("internal", `failed to bind host port for ${shown}: address already in use`, {
            cause: error,
          });
        if (isErrno(error, "EADDRNOTAVAIL"))
          throw new EngineError(
            "internal",
            `failed to bind host port for ${shown}: cannot assign requested address`,
            { cause: error },
          );
        throw error;
      }
    }
    this.#held.set(keyOf(protocol, address, port), fd);
  }

  /** A port of all addresses is taken with that of any one, and the other way round. */
  #isTaken(protocol: string, address: Ipv4, port: number): boolean {
    if (this.#held.has(keyOf(protocol, address, port)) || this.#held.has(keyOf(protocol, ANY, port)))
      return true;
    const tail = `/${port}`;
    if (address !== ANY) return false;
    for (const key of this.#held.keys())
      if (key.startsWith(`${protocol}/`) && key.endsWith(tail)) return true;
    return false;
  }
}

function keyOf(protocol: string, address: Ipv4, port: number): string {
  return `${protocol}/${address}/${port}`;
}

/** `struct sockaddr_in` */
function socketAddress(address: Ipv4, port: number): Uint8Array {
  const bytes = Buffer.from(new ArrayBuffer(16));
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipv4Bytes(address), 4);
  return bytes;
}

function ephemeralRange(): readonly [number, number] {
  try {
    const text = fs.readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
    const [first = Number.NaN, last = Number.NaN] = text.trim().split(/\s+/).map(Number);
    return first > 0 && last >= first ? [first, last] : EPHEMERAL;
  } catch {
    return EPHEMERAL;
  }
}
