import { check, scratch, syscall } from "./call.ts";
import * as NR from "./numbers.ts";

const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SFD_NONBLOCK = 0x800;

/** From now on these signals wait, also over execve(2). Of this thread; Bun's event loop lets them through while it waits. */
export function blockSignals(signals: readonly number[]): void {
  changeMask(SIG_BLOCK, signals);
}

/** Those that waited come now. */
export function unblockSignals(signals: readonly number[]): void {
  changeMask(SIG_UNBLOCK, signals);
}

/** signalfd(2): readable while one of these signals waits. Not close-on-exec. */
export function signalFd(signals: readonly number[]): number {
  return check(syscall(NR.signalfd4, -1, maskOf(signals), 8, SFD_NONBLOCK), "signalfd4");
}

function changeMask(how: number, signals: readonly number[]): void {
  check(syscall(NR.rt_sigprocmask, how, maskOf(signals), 0, 8), "rt_sigprocmask");
}

/** The address of a sigset_t, for the next call. */
function maskOf(signals: readonly number[]): number {
  const arena = scratch();
  const at = arena.room(8);
  const [low, high] = signals.reduce(
    ([low, high], signal) =>
      signal > 32 ? [low, high | (1 << (signal - 33))] : [low | (1 << (signal - 1)), high],
    [0, 0],
  );
  arena.bytes.writeInt32LE(low, at);
  arena.bytes.writeInt32LE(high, at + 4);
  return arena.base + at;
}
