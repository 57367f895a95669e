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
} as const;
