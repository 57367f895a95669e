import { dropZeroPages } from "@longshore/syscalls";

/** How long nothing must have happened. */
const QUIET_MS = 1000;
/** Until the engine has done what it was told to, and its allocator has given back what that freed. */
const SETTLED_MS = 150;

let stirred = false;
let waiting = false;
let sleepiness: { quietMs: number; sleep: () => void } | undefined;
let bedtime: Timer | undefined;

/**
 * Something happened. Once nothing has for a second, what it took is given back, for nothing may happen for days. May be called as often
 * as one likes.
 */
export function stir(): void {
  stirred = true;
  if (waiting) return;
  waiting = true;
  clearTimeout(bedtime);
  setTimeout(look, QUIET_MS);
}

/** Have `sleep` called whenever nothing has happened for so long; should it return, once more after as long again. */
export function sleepWhenQuiet(quietMs: number, sleep: () => void): void {
  sleepiness = { quietMs, sleep };
  stir();
}

function look(): void {
  if (stirred) {
    stirred = false;
    setTimeout(look, QUIET_MS);
    return;
  }
  // What has been done is garbage now. Decoded code goes as well; it is in the executable.
  Bun.shrink();
  Bun.gc(true);
  setTimeout(settle, SETTLED_MS);
}

function settle(): void {
  waiting = false;
  if (stirred) {
    stir();
    return;
  }
  dropZeroPages();
  if (sleepiness) bedtime = setTimeout(goToSleep, sleepiness.quietMs);
}

function goToSleep(): void {
  if (!sleepiness) return;
  sleepiness.sleep();
  bedtime = setTimeout(goToSleep, sleepiness.quietMs);
}
