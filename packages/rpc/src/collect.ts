/**
 * Has the collector run whenever so many bytes more have come by. Each of them is copied, through gRPC several times, and by itself the
 * collector lets the copies pile up as if the machine's whole memory were ours.
 *
 * @returns is told how many bytes came by
 */
export function collector(everyBytes: number): (bytes: number) => void {
  let uncollected = 0;
  return (bytes) => {
    uncollected += bytes;
    if (uncollected < everyBytes) return;
    uncollected = 0;
    Bun.gc(true);
  };
}
