const QUIET_MS = 20_000;

/**
 * Has the process give back what it took, once nothing has come for so long.
 *
 * @param options `code`: also the code that the engine has made of ours, which is in the executable anyway. That is a quarter of the memory, and
 *   for a while each call takes some milliseconds more: not for a process that somebody waits for.
 * @returns is told that something came; may be called as often as one likes
 */
export function tidyAtRest({ code = false, quietMs = QUIET_MS } = {}): () => void {
  let stirred = false;
  let waiting = false;
  const wait = () => {
    waiting = true;
    stirred = false;
    setTimeout(look, quietMs).unref();
  };
  const look = () => {
    if (stirred) {
      wait();
      return;
    }
    waiting = false;
    if (code) Bun.shrink();
    Bun.gc(true);
  };
  wait();
  return () => {
    stirred = true;
    if (!waiting) wait();
  };
}
