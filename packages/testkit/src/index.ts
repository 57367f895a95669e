export { type EventuallyOptions, eventually } from "./eventually.ts";
export { leaksSince, type TraceOptions, type Traces, traces } from "./leaks.ts";
