const SLICE_MS = 10;

/** Run work that yields wherever it may be interrupted, and let other work of the thread have its turn in between. */
export async function runInSlices(work: Iterable<void>): Promise<void> {
  let began = performance.now();
  for (const _ of work) {
    if (performance.now() - began < SLICE_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    began = performance.now();
  }
}
