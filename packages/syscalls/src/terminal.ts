import { scratch, syscall } from "./call.ts";
import {
  O_CLOEXEC,
  O_NOCTTY,
  O_RDWR,
  TCGETS,
  TCSETS,
  TIOCGPTN,
  TIOCGPTPEER,
  TIOCGWINSZ,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "./constants.ts";
import { ioctl, openFile } from "./files.ts";
import * as NR from "./numbers.ts";

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

/** The kernel's struct termios: four u32 of flags, a line discipline, 19 control characters. */
const TERMIOS_BYTES = 36;
const C_IFLAG = 0;
const C_OFLAG = 4;
const C_CFLAG = 8;
const C_LFLAG = 12;
const VTIME = 17 + 5;
const VMIN = 17 + 6;

/**
 * Make a terminal raw, as cfmakeraw(3): no echo, no signals, no translation. Gives its settings for {@link restoreTerminal}.
 *
 * @param options keepOutput: LF goes on to be shown as CR LF
 */
export function makeTerminalRaw(fd: number, { keepOutput = false } = {}): Buffer {
  const arena = scratch();
  const at = arena.room(TERMIOS_BYTES);
  ioctl(fd, TCGETS, arena.base + at);
  const { bytes } = arena;
  const saved = Buffer.from(bytes.subarray(at, at + TERMIOS_BYTES));
  const clear = (field: number, flags: number) =>
    bytes.writeUInt32LE((saved.readUInt32LE(field) & ~flags) >>> 0, at + field);
  clear(C_IFLAG, 0o2753); // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
  if (!keepOutput) clear(C_OFLAG, 0o1); // OPOST
  clear(C_CFLAG, 0o400); // PARENB
  bytes.writeUInt32LE((bytes.readUInt32LE(at + C_CFLAG) | 0o60) >>> 0, at + C_CFLAG); // CS8
  clear(C_LFLAG, 0o100113); // ISIG ICANON ECHO ECHONL IEXTEN
  bytes[at + VTIME] = 0;
  bytes[at + VMIN] = 1;
  ioctl(fd, TCSETS, arena.base + at);
  return saved;
}

/** LF is passed on as it is (ONLCR off). */
export function clearNewlineTranslation(fd: number): void {
  const arena = scratch();
  const at = arena.room(TERMIOS_BYTES);
  ioctl(fd, TCGETS, arena.base + at);
  arena.bytes.writeUInt32LE((arena.bytes.readUInt32LE(at + C_OFLAG) & ~0o4) >>> 0, at + C_OFLAG);
  ioctl(fd, TCSETS, arena.base + at);
}

/** Whether a descriptor is a terminal. */
export function isTerminal(fd: number): boolean {
  const arena = scratch();
  return syscall(NR.ioctl, fd, TCGETS, arena.base + arena.room(TERMIOS_BYTES)) >= 0;
}

export function restoreTerminal(fd: number, saved: Buffer): void {
  const arena = scratch();
  ioctl(fd, TCSETS, arena.copy(saved));
}
