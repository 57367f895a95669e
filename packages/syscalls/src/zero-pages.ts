import { check, scratch, syscall } from "./call.ts";
import { AT_FDCWD, O_CLOEXEC } from "./constants.ts";
import { stat } from "./files.ts";
import * as NR from "./numbers.ts";

const MADV_DONTNEED = 4;
const SIG_SETMASK = 2;
const PAGE = 4096;
/** How much of a mapping is looked at: allocators reserve gigabytes, and fill them from the start. */
const REACH_BYTES = 64 << 20;
/** How many pages the kernel is asked about at a time. */
const ASKED = 2048;
/** Room for /proc/self/maps; what is behind is left alone. */
const MAPS_BYTES = 24 << 10;

const zeros = Buffer.alloc(PAGE);
const SPACE = 32;
const NEWLINE = 10;
const DASH = 45;
/** How the line of anonymous memory that is written and not executed goes on behind its addresses. It ends there but for spaces. */
const ANONYMOUS = Buffer.from(" rw-p 00000000 00:00 0");

// All this is about memory, and comes after the last collection: it makes no objects, or next to none.

/**
 * Give back the memory of this process that holds nothing but zeros: such a page, dropped, reads the same when it is used
 * again. Allocators keep hundreds of kilobytes of it after a start. For a process at rest; does nothing with a second thread, which
 * could write meanwhile.
 *
 * @returns how many bytes were given back
 */
export function dropZeroPages(): number {
  // Two, as every directory, and one for each thread.
  if (stat("/proc/self/task").links !== 3) return 0;
  const arena = scratch();
  const { bytes, base } = arena;
  const pagemap = openProc(arena.string("/proc/self/pagemap"));
  const memory = openProc(arena.string("/proc/self/mem"));
  const maps = openProc(arena.string("/proc/self/maps"));
  const masks = arena.room(16);
  const text = arena.room(MAPS_BYTES);
  const entries = arena.room(ASKED * 8);
  const page = arena.room(PAGE);
  let length = 0;
  for (let n = 1; n > 0 && length < MAPS_BYTES; length += n)
    n = Math.max(0, syscall(NR.read, maps, base + text + length, MAPS_BYTES - length));
  bytes.fill(0xff, masks, masks + 8);
  let dropped = 0;
  // A handler of a signal would write to memory, too.
  check(syscall(NR.rt_sigprocmask, SIG_SETMASK, base + masks, base + masks + 8, 8), "rt_sigprocmask");
  for (let at = text; at < text + length; ) {
    const lineEnd = bytes.indexOf(NEWLINE, at);
    if (lineEnd < 0 || lineEnd >= text + length) break;
    let start = 0;
    let end = 0;
    for (; bytes[at] !== DASH; at++) start = start * 16 + hexadecimal(bytes[at] as number);
    for (at++; bytes[at] !== SPACE; at++) end = end * 16 + hexadecimal(bytes[at] as number);
    if (isAnonymous(bytes, at, lineEnd)) {
      end = Math.min(end, start + REACH_BYTES);
      for (; start < end; start += ASKED * PAGE) {
        const count = Math.min(ASKED, (end - start) / PAGE);
        if (syscall(NR.pread64, pagemap, base + entries, count * 8, (start / PAGE) * 8) !== count * 8) break;
        for (let n = 0; n < count; n++) {
          // Bit 63 of the 64 for each page: it is present.
          if (((bytes[entries + n * 8 + 7] as number) & 0x80) === 0) continue;
          const address = start + n * PAGE;
          if (syscall(NR.pread64, memory, base + page, PAGE, address) !== PAGE) continue;
          if (bytes.compare(zeros, 0, PAGE, page, page + PAGE) !== 0) continue;
          if (syscall(NR.madvise, address, PAGE, MADV_DONTNEED) === 0) dropped += PAGE;
        }
      }
    }
    at = lineEnd + 1;
  }
  syscall(NR.rt_sigprocmask, SIG_SETMASK, base + masks + 8, 0, 8);
  closeProc(pagemap);
  closeProc(memory);
  closeProc(maps);
  // The arena itself, whole pages of it: nothing in it outlives a call.
  bytes.fill(0);
  const first = Math.ceil(base / PAGE) * PAGE;
  syscall(NR.madvise, first, Math.floor((base + bytes.length) / PAGE) * PAGE - first, MADV_DONTNEED);
  return dropped;
}

/** Negative where the kernel doesn't let us: all that follows fails then, and nothing is done. */
function openProc(name: number): number {
  return syscall(NR.openat, AT_FDCWD, name, O_CLOEXEC);
}

function closeProc(fd: number): void {
  if (fd >= 0) syscall(NR.close, fd);
}

function hexadecimal(byte: number): number {
  return byte < 58 ? byte - 48 : byte - 87;
}

function isAnonymous(bytes: Buffer, at: number, end: number): boolean {
  const behind = at + ANONYMOUS.length;
  if (behind > end || bytes.compare(ANONYMOUS, 0, ANONYMOUS.length, at, behind) !== 0) return false;
  for (let n = behind; n < end; n++) if (bytes[n] !== SPACE) return false;
  return true;
}
