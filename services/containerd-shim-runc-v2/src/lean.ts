/** Engine settings, read before the first line of ours runs: one thread and little memory in our processes. */
export const LEAN_ENVIRONMENT = {
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_useConcurrentGC: "0",
} as const;
