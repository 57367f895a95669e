import { Errno } from "@longshore/errors";
import { type Arena, addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
import { AF_INET, AF_INET6, AF_UNIX, EINTR, MSG_CMSG_CLOEXEC, SOCK_CLOEXEC } from "./constants.ts";
import * as NR from "./numbers.ts";

/** socket(2), always close-on-exec. It belongs to the network namespace that the thread is in. */
export function socket(family: number, type: number, protocol = 0): number {
  return check(syscall(NR.socket, family, type | SOCK_CLOEXEC, protocol), "socket");
}

export function socketpair(type: number): [number, number] {
  const arena = scratch();
  const at = arena.room(8);
  check(syscall(NR.socketpair, 1, type | SOCK_CLOEXEC, 0, arena.base + at), "socketpair");
  return [arena.bytes.readInt32LE(at), arena.bytes.readInt32LE(at + 4)];
}

/** A sockaddr_un; 107 bytes of path at most, as the kernel has it. */
function unixAddress(arena: Arena, path: string): [address: number, length: number] {
  const bytes = Buffer.from(path);
  if (bytes.length > 107) throw new Errno("ENAMETOOLONG", 36, "sockaddr_un", path);
  const at = arena.room(110);
  arena.bytes.writeUInt16LE(1, at);
  arena.bytes.set(bytes, at + 2);
  return [arena.base + at, 2 + bytes.length + 1];
}

export function bindUnix(fd: number, path: string): void {
  const [address, length] = unixAddress(scratch(), path);
  check(syscall(NR.bind, fd, address, length), "bind", path);
}

export function connectUnix(fd: number, path: string): void {
  const [address, length] = unixAddress(scratch(), path);
  check(syscall(NR.connect, fd, address, length), "connect", path);
}

/** bind(2) with an address as bytes, e.g. a sockaddr_nl. */
export function bind(fd: number, address: Uint8Array): void {
  check(syscall(NR.bind, fd, scratch().copy(address), address.length), "bind");
}

/** connect(2) to an address as bytes, e.g. a sockaddr_in. */
export function connect(fd: number, address: Uint8Array): void {
  check(syscall(NR.connect, fd, scratch().copy(address), address.length), "connect");
}

/** getsockname(2): the address as bytes, of a family whose addresses are that long. */
export function boundAddress(fd: number, length: number): Uint8Array {
  const arena = scratch();
  const [at, size] = [arena.room(length), arena.room(4)];
  arena.bytes.writeInt32LE(length, size);
  check(syscall(NR.getsockname, fd, arena.base + at, arena.base + size), "getsockname");
  return Uint8Array.from(arena.bytes.subarray(at, at + length));
}

export function listen(fd: number, backlog = 128): void {
  check(syscall(NR.listen, fd, backlog), "listen");
}

/** accept4(2); undefined when the listener doesn't block and nobody waits. */
export function accept(fd: number, flags = 0): number | undefined {
  const peer = syscall(NR.accept4, fd, 0, 0, flags | SOCK_CLOEXEC);
  return peer === -11 ? undefined : check(peer, "accept4");
}

export function setsockopt(fd: number, level: number, option: number, value: number | Uint8Array): void {
  const arena = scratch();
  if (typeof value !== "number") {
    check(syscall(NR.setsockopt, fd, level, option, arena.copy(value), value.length), "setsockopt");
    return;
  }
  const at = arena.room(4);
  arena.bytes.writeInt32LE(value, at);
  check(syscall(NR.setsockopt, fd, level, option, arena.base + at, 4), "setsockopt", String(option));
}

/** getsockopt(2) of a value of this length. */
export function getsockopt(fd: number, level: number, option: number, length: number): Uint8Array {
  const arena = scratch();
  const [at, size] = [arena.room(length), arena.room(4)];
  arena.bytes.writeInt32LE(length, size);
  const result = syscall(NR.getsockopt, fd, level, option, arena.base + at, arena.base + size);
  check(result, "getsockopt", String(option));
  return Uint8Array.from(arena.bytes.subarray(at, at + length));
}

/** The process at the other end of a unix socket when it connected. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number } {
  const arena = scratch();
  const at = arena.room(16);
  arena.bytes.writeInt32LE(12, at + 12);
  check(syscall(NR.getsockopt, fd, 1, 17, arena.base + at, arena.base + at + 12), "getsockopt");
  const [pid, uid, gid] = [0, 4, 8].map((offset) => arena.bytes.readUInt32LE(at + offset));
  return { pid: pid ?? 0, uid: uid ?? 0, gid: gid ?? 0 };
}

/** Where a socket is bound: a unix socket's family alone, an internet socket's address as text too. */
export type SocketName = { family: "unix" | "other" } | { family: "inet"; hostname: string; port: number };

/** getsockname(2) */
export function socketName(fd: number): SocketName {
  const arena = scratch();
  const at = arena.room(128);
  const length = arena.room(4);
  arena.bytes.writeInt32LE(128, length);
  check(syscall(NR.getsockname, fd, arena.base + at, arena.base + length), "getsockname", String(fd));
  const family = arena.bytes.readUInt16LE(at);
  if (family === AF_UNIX) return { family: "unix" };
  if (family !== AF_INET && family !== AF_INET6) return { family: "other" };
  const port = arena.bytes.readUInt16BE(at + 2);
  if (family === AF_INET)
    return { family: "inet", hostname: [...arena.bytes.subarray(at + 4, at + 8)].join("."), port };
  const groups = Array.from({ length: 8 }, (_, index) =>
    arena.bytes.readUInt16BE(at + 8 + 2 * index).toString(16),
  );
  return { family: "inet", hostname: new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1), port };
}

/** send(2) of a whole message (datagram, netlink); for streams loop over what is returned. */
export function send(fd: number, data: Uint8Array, flags = 0): number {
  // Copied, because a small typed array may move between taking its address and the call.
  const fixed = fixedBuffer(Math.max(1, data.length));
  fixed.set(data);
  for (;;) {
    const n = syscall(NR.sendto, fd, addressOf(fixed), data.length, flags, 0, 0);
    if (n !== -EINTR) return check(n, "send");
  }
}

/** recv(2) into a buffer from `fixedBuffer`; with MSG_TRUNC the message's whole length, also when it didn't fit. */
export function receive(fd: number, into: Uint8Array, flags = 0): number {
  for (;;) {
    const n = syscall(NR.recvfrom, fd, addressOf(into), into.length, flags, 0, 0);
    if (n !== -EINTR) return check(n, "recv");
  }
}

// struct msghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48; cmsghdr: len 0, level 8, type 12.
const MSGHDR_BYTES = 56;
const MAX_FDS = 16;

/** Fill in a msghdr with one iovec, and with room for `fdCount` descriptors; returns offsets into the arena. */
export function layoutMessage(arena: Arena, data: number, dataBytes: number, fdCount: number) {
  const header = arena.room(MSGHDR_BYTES);
  const vector = arena.room(16);
  const control = arena.room(16 + 4 * fdCount + 8);
  const put = (at: number, value: number) => arena.bytes.writeBigUInt64LE(BigInt(value), at);
  put(vector, data);
  put(vector + 8, dataBytes);
  put(header + 16, arena.base + vector);
  put(header + 24, 1);
  put(header + 32, arena.base + control);
  put(header + 40, 16 + ((4 * fdCount + 7) & ~7));
  return { header, control };
}

/** Send data (at least one byte) and descriptors over a unix socket. */
export function sendFds(socketFd: number, data: Uint8Array, fds: readonly number[]): void {
  const arena = scratch();
  const { header, control } = layoutMessage(arena, arena.copy(data), data.length, fds.length);
  arena.bytes.writeBigUInt64LE(BigInt(16 + 4 * fds.length), control);
  arena.bytes.writeInt32LE(1, control + 8); // SOL_SOCKET
  arena.bytes.writeInt32LE(1, control + 12); // SCM_RIGHTS
  for (const [index, fd] of fds.entries()) arena.bytes.writeInt32LE(fd, control + 16 + 4 * index);
  if (fds.length === 0) arena.bytes.writeBigUInt64LE(0n, header + 40);
  check(syscall(NR.sendmsg, socketFd, arena.base + header, 0x4000), "sendmsg");
}

export interface Received {
  data: Buffer;
  /** Close-on-exec; the receiver owns them. */
  fds: number[];
}

/** Receive data and descriptors; undefined when the socket doesn't block and nothing is there. No data: the peer has closed. */
export function receiveFds(socketFd: number, maxBytes = 4096): Received | undefined {
  const arena = scratch();
  const data = arena.room(maxBytes);
  const { header, control } = layoutMessage(arena, arena.base + data, maxBytes, MAX_FDS);
  const n = syscall(NR.recvmsg, socketFd, arena.base + header, MSG_CMSG_CLOEXEC);
  if (n === -11) return undefined;
  check(n, "recvmsg");
  const fds: number[] = [];
  const controlBytes = Number(arena.bytes.readBigUInt64LE(header + 40));
  for (let at = 0; at + 16 <= controlBytes; ) {
    const length = Number(arena.bytes.readBigUInt64LE(control + at));
    if (length < 16) break;
    const rights =
      arena.bytes.readInt32LE(control + at + 8) === 1 && arena.bytes.readInt32LE(control + at + 12) === 1;
    for (let fd = at + 16; rights && fd + 4 <= at + length; fd += 4)
      fds.push(arena.bytes.readInt32LE(control + fd));
    at += (length + 7) & ~7;
  }
  return { data: Buffer.from(arena.bytes.subarray(data, data + n)), fds };
}
