import { dropZeroPages } from "@longshore/syscalls";

/** How long nothing must have happened. */
const QUIET_MS = 1000;
/** Until the engine has done what it was told to, and its allocator has given back what that freed. */
const SETTLED_MS = 150;

let stirred = false;
let waiting = false;

/**
 * Something happened. Once nothing has for a second, what it took is given back, for nothing may happen for days. May be called as often
 * as one likes.
 */
export function stir(): void {
  stirred = true;
  if (waiting) return;
  waiting = true;
  setTimeout(look, QUIET_MS);
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
  if (stirred) stir();
  else dropZeroPages();
}
