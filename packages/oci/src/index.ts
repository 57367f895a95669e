export { CAPABILITIES, capabilityBits } from "./capabilities.ts";
export { parseProcess, parseResources, parseSpec } from "./parse.ts";
export * from "./spec.ts";
