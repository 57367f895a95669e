import { check, scratch, syscall } from "./call.ts";
import { O_CLOEXEC } from "./constants.ts";
import { Fd, openFile, readDirectory, readText } from "./files.ts";
import { NR } from "./numbers.ts";

const MADV_DONTNEED = 4;
const SIG_SETMASK = 2;
const PAGE = 4096;
/** How much of a mapping is looked at: allocators reserve gigabytes, and fill them from the start. */
const REACH_BYTES = 64 << 20;
/** How many pages the kernel is asked about at a time, and how many are compared. */
const BATCH = { asked: 4096, compared: 4 };

/**
 * Give back the memory of this process that holds nothing but zeros: such a page, dropped, reads the same when it is used
 * again. Allocators keep hundreds of kilobytes of it after a start. For a process at rest; does nothing with a second thread, which
 * could write meanwhile.
 *
 * @returns how many bytes were given back
 */
export function dropZeroPages(): number {
  if (readDirectory("/proc/self/task").length !== 1) return 0;
  const ranges = privateMemory(readText("/proc/self/maps"));
  using pagemap = new Fd(openFile("/proc/self/pagemap", O_CLOEXEC));
  using memory = new Fd(openFile("/proc/self/mem", O_CLOEXEC));
  // Of what there is: new memory would be what is left of all this.
  const arena = scratch();
  const { bytes, base } = arena;
  const all = arena.room(8);
  const before = arena.room(8);
  const entries = arena.room(BATCH.asked * 8);
  const pages = arena.room(BATCH.compared * PAGE);
  bytes.fill(0xff, all, all + 8);
  // A handler of a signal would write to memory, too.
  check(syscall(NR.rt_sigprocmask, SIG_SETMASK, base + all, base + before, 8), "rt_sigprocmask");
  try {
    let dropped = 0;
    for (const range of ranges) {
      const search = { pagemap: pagemap.number, memory: memory.number, bytes, base, entries, pages };
      dropped += dropIn(range, search);
    }
    return dropped;
  } finally {
    syscall(NR.rt_sigprocmask, SIG_SETMASK, base + before, 0, 8);
    bytes.fill(0);
    const [first, last] = [Math.ceil(base / PAGE), Math.floor((base + bytes.length) / PAGE)];
    syscall(NR.madvise, first * PAGE, (last - first) * PAGE, MADV_DONTNEED);
  }
}

interface Range {
  start: number;
  end: number;
}

/** Anonymous memory that can be written and not executed, of a size that is worth it; no stack. */
function privateMemory(maps: string): Range[] {
  return maps.split("\n").flatMap((line) => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0\s*$/.exec(line) ?? [];
    if (from === undefined || to === undefined) return [];
    const start = Number.parseInt(from, 16);
    return [{ start, end: Math.min(Number.parseInt(to, 16), start + REACH_BYTES) }];
  });
}

interface Search {
  pagemap: number;
  memory: number;
  /** Where the kernel's words on pages go, and what is in them, in bytes that begin at an address. */
  bytes: Buffer;
  base: number;
  entries: number;
  pages: number;
}

function dropIn({ start, end }: Range, { pagemap, memory, bytes, base, entries, pages }: Search): number {
  let dropped = 0;
  const isPresent = (page: number) => ((bytes[entries + page * 8 + 7] ?? 0) & 0x80) !== 0;
  for (let from = start; from < end; from += BATCH.asked * PAGE) {
    const count = Math.min(BATCH.asked, (end - from) / PAGE);
    if (syscall(NR.pread64, pagemap, base + entries, count * 8, (from / PAGE) * 8) !== count * 8)
      return dropped;
    for (let first = 0; first < count; first++) {
      if (!isPresent(first)) continue;
      let behind = first + 1;
      while (behind < count && behind - first < BATCH.compared && isPresent(behind)) behind++;
      const length = (behind - first) * PAGE;
      if (syscall(NR.pread64, memory, base + pages, length, from + first * PAGE) !== length) return dropped;
      for (let page = first; page < behind; page++) {
        const at = pages + (page - first) * PAGE;
        // Without an object for each page: this is about memory.
        if (bytes.compare(zeros, 0, PAGE, at, at + PAGE) !== 0) continue;
        if (syscall(NR.madvise, from + page * PAGE, PAGE, MADV_DONTNEED) === 0) dropped += PAGE;
      }
      first = behind - 1;
    }
  }
  return dropped;
}

const zeros = Buffer.alloc(PAGE);
