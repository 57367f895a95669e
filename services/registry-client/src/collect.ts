const COLLECT_BYTES = 12 << 20;
let uncollected = 0;

/**
 * Each byte that comes by is copied, through gRPC several times, and the collector lets the copies pile up as if the machine's whole memory
 * were ours.
 */
export function collectNowAndThen(bytes: number): void {
  uncollected += bytes;
  if (uncollected < COLLECT_BYTES) return;
  uncollected = 0;
  Bun.gc(true);
}
