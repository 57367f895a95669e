/** Engine settings, read before the first line of ours runs: one thread and little memory in our processes. */
export const LEAN_ENVIRONMENT = {
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_useConcurrentGC: "0",
} as const;

/**
 * For the long-lived process besides: a small heap, and machine code only for what runs hot, such as the loop over a log's bytes.
 * Each compiled function costs memory that is never given back.
 */
export const IDLE_ENVIRONMENT = {
  ...LEAN_ENVIRONMENT,
  BUN_OPTIONS: "--smol",
  // Collects early, and keeps no decoded code that isn't running.
  BUN_JSC_forceMiniVMMode: "1",
  BUN_JSC_thresholdForJITAfterWarmUp: "200000",
  // Freed memory goes back at once, and no thread watches over it.
  MIMALLOC_PURGE_DELAY: "0",
  // No collector that looks each second whether there is something to do: it is called when there is (`rest.ts`).
  BUN_GC_TIMER_DISABLE: "1",
  // After so many bytes a collection: what is kept lies close together.
  BUN_JSC_gcMaxHeapSize: "2000000",
  // Few sizes of cells, whose blocks are all begun and few of them full.
  BUN_JSC_sizeClassProgression: "2",
  // The allocator's tables for 64 MiB instead of 1 GiB; it takes more where that doesn't do.
  MIMALLOC_ARENA_RESERVE: "65536",
} as const;
