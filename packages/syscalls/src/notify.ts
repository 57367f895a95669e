import { check, scratch, syscall } from "./call.ts";
import { AF_UNIX, SOCK_DGRAM } from "./constants.ts";
import { close } from "./files.ts";
import * as NR from "./numbers.ts";
import { send, socket } from "./sockets.ts";

/**
 * Tell the supervisor that started this process how it is: `READY=1`, `STOPPING=1`. Nothing happens when nobody asked for it by
 * NOTIFY_SOCKET.
 *
 * @returns whether somebody was told
 * @throws Errno when the supervisor's socket is not there
 * @see sd_notify(3)
 */
export function notifySupervisor(state: string, address = process.env.NOTIFY_SOCKET): boolean {
  if (!address || !/^[/@]/.test(address)) return false;
  const fd = socket(AF_UNIX, SOCK_DGRAM);
  try {
    const arena = scratch();
    // An abstract name begins with a zero byte and ends where its length says; a path ends with one.
    const name = address.startsWith("@") ? `\0${address.slice(1)}` : `${address}\0`;
    const sockaddr = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(name)]);
    check(syscall(NR.connect, fd, arena.copy(sockaddr), sockaddr.length), "connect", address);
    send(fd, Buffer.from(state));
  } finally {
    close(fd);
  }
  return true;
}
