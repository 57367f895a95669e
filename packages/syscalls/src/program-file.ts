import { addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
import { AT_EMPTY_PATH, F_ADD_SEALS, PR_SET_NAME } from "./constants.ts";
import { CallTable, type Hand } from "./hand.ts";
import { ELF_ENTRY, handCode } from "./hand-code.ts";
import * as NR from "./numbers.ts";

const CODE_ADDRESS = 0x400000;
const TABLE_ADDRESS = 0x500000;
const PAGE = 4096;

/**
 * A program of its own, of some kilobytes, that makes the calls of a table built for {@link programTable} and ends. As it is all
 * that /proc/self/exe leads to, our own executable can't be reached from inside a container (CVE-2019-5736).
 *
 * @returns a sealed memfd, close-on-exec, readable by nobody, so that what runs it can't be looked into either
 */
export function programFile(table: CallTable): number {
  const code = handCode();
  const image = table.image();
  const file = Buffer.alloc(2 * PAGE + image.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bit, little-endian
  file.writeUInt16LE(2, 16); // executable
  file.writeUInt16LE(62, 18); // x86-64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(CODE_ADDRESS + ELF_ENTRY), 24);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(3, 56);
  const segment = (
    index: number,
    type: number,
    flags: number,
    offset: number,
    address: number,
    bytes: number,
  ) => {
    const at = 64 + 56 * index;
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(flags, at + 4);
    for (const [field, value] of [offset, address, address, bytes, bytes, PAGE].entries()) {
      file.writeBigUInt64LE(BigInt(value), at + 8 + 8 * field);
    }
  };
  segment(0, 1, 5, PAGE, CODE_ADDRESS, code.length); // PT_LOAD, read and execute
  segment(1, 1, 6, 2 * PAGE, TABLE_ADDRESS, image.length); // PT_LOAD, read and write
  segment(2, 0x6474e551, 6, 0, 0, 0); // PT_GNU_STACK, not executable
  file.set(code, PAGE);
  file.set(image, 2 * PAGE);
  const name = () => scratch().string("init");
  let fd = syscall(NR.memfd_create, name(), 0x13); // CLOEXEC, ALLOW_SEALING, EXEC (since 6.3)
  if (fd < 0) fd = check(syscall(NR.memfd_create, name(), 3), "memfd_create");
  const fixed = fixedBuffer(file.length);
  fixed.set(file);
  check(syscall(NR.write, fd, addressOf(fixed), fixed.length), "write", "memfd");
  check(syscall(NR.fchmod, fd, 0o111), "fchmod", "memfd");
  check(syscall(NR.fcntl, fd, F_ADD_SEALS, 15), "fcntl", "F_ADD_SEALS");
  return fd;
}

/** An empty table for a {@link programFile}. `bytes`: room for its strings; `name`: what `ps` calls it. */
export function programTable(maxCalls: number, bytes: number, name = "runc:[2:INIT]"): CallTable {
  const table = new CallTable({ maxCalls, bytes, entriesAddress: TABLE_ADDRESS });
  table.add("prctl", [PR_SET_NAME, table.arena.string(name)], { skipOnError: 0 });
  return table;
}

/**
 * Become a {@link programFile}: this process goes on as that, with its number, its children and whatever is not close-on-exec. `argv` is
 * what `ps` shows.
 *
 * @throws Errno when it can't: nothing has changed then
 */
export function becomeProgram(fd: number, argv: readonly string[]): never {
  const arena = scratch();
  const empty = arena.string("");
  check(syscall(NR.execveat, fd, empty, arena.vector(argv), arena.vector([]), AT_EMPTY_PATH), "execveat");
  throw new Error("execveat returned");
}

/** Queue what lets the child become a {@link programFile}; `argv` is what `ps` shows. */
export function callProgram(hand: Hand, fd: number, argv: readonly string[]): void {
  const arena = hand.calls.arena;
  const none = arena.vector([]);
  hand.call("execveat", [fd, arena.string(""), arena.vector(argv), none, AT_EMPTY_PATH], {
    about: argv[0] ?? "",
  });
}
