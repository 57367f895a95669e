export { CAPABILITIES, capabilityBits } from "./capabilities.ts";
export { parseResources, parseSpec } from "./parse.ts";
export { parseProcess } from "./parse-process.ts";
export * from "./spec.ts";
