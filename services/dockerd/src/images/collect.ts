const COLLECT_BYTES = 32 << 20;
let uncollected = 0;

/** Each byte of an archive that comes by is copied a few times, and the collector lets the copies pile up. */
export function collectNowAndThen(bytes: number): void {
  uncollected += bytes;
  if (uncollected < COLLECT_BYTES) return;
  uncollected = 0;
  Bun.gc(true);
}
