import { addressOf, check, fixedBuffer, syscall } from "./call.ts";
import { O_CLOEXEC, O_WRONLY } from "./constants.ts";
import { Fd, openFile, readText } from "./files.ts";
import * as NR from "./numbers.ts";

const PR_SET_MM = 35;
const PR_SET_MM_ARG_END = 9;
/** The fields of /proc/PID/stat, counted from the one behind the name (proc_pid_stat(5): 48 and 49). */
const ARG_START = 45;
const ARG_END = 46;

/**
 * Change what the list of processes shows as this one's command line. There is as much room as what it was started with took.
 *
 * @returns whether there was room for it; it is unchanged otherwise
 */
export function renameCommandLine(words: readonly string[]): boolean {
  const stat = readText("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [start, end] = [Number(fields[ARG_START]), Number(fields[ARG_END])];
  const text = Buffer.from(words.map((word) => `${word}\0`).join(""));
  if (text.length > end - start) return false;
  const bytes = fixedBuffer(end - start);
  bytes.set(text);
  // Not by its address: the kernel checks this one, and a wrong one does no harm.
  using memory = new Fd(openFile("/proc/self/mem", O_WRONLY | O_CLOEXEC));
  const written = syscall(NR.pwrite64, memory.number, addressOf(bytes), bytes.length, start);
  check(written, "pwrite64", "/proc/self/mem");
  // Without the right to this (CAP_SYS_RESOURCE) empty words follow.
  syscall(NR.prctl, PR_SET_MM, PR_SET_MM_ARG_END, start + text.length, 0, 0);
  return true;
}
