import { scratch } from "./call.ts";
import {
  O_CLOEXEC,
  O_NOCTTY,
  O_RDWR,
  TIOCGPTN,
  TIOCGPTPEER,
  TIOCGWINSZ,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "./constants.ts";
import { ioctl, openFile } from "./files.ts";

export interface WindowSize {
  rows: number;
  columns: number;
}

/** A new pseudo terminal: the master's descriptor, unlocked, and the number in /dev/pts. */
export function openPty(ptmx = "/dev/ptmx"): { master: number; number: number } {
  const master = openFile(ptmx, O_RDWR | O_NOCTTY | O_CLOEXEC);
  const arena = scratch();
  const at = arena.room(4);
  ioctl(master, TIOCSPTLCK, arena.base + at);
  ioctl(master, TIOCGPTN, arena.base + at);
  return { master, number: arena.bytes.readInt32LE(at) };
}

/** The terminal side of a master, opened without a path, so that nothing can be put in its place. */
export function openPtyPeer(master: number): number {
  return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

export function setWindowSize(fd: number, { rows, columns }: WindowSize): void {
  const arena = scratch();
  const at = arena.room(8);
  arena.bytes.writeUInt16LE(rows, at);
  arena.bytes.writeUInt16LE(columns, at + 2);
  ioctl(fd, TIOCSWINSZ, arena.base + at);
}

export function windowSize(fd: number): WindowSize {
  const arena = scratch();
  const at = arena.room(8);
  ioctl(fd, TIOCGWINSZ, arena.base + at);
  return { rows: arena.bytes.readUInt16LE(at), columns: arena.bytes.readUInt16LE(at + 2) };
}
