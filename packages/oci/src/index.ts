export { CAPABILITIES, capabilityBits } from "./capabilities.ts";
export { parseResources, parseSpec } from "./parse.ts";
export { parseProcess } from "./parse-process.ts";
export {
  choosePlatform,
  compatiblePlatforms,
  formatPlatform,
  hostPlatform,
  isPlatform,
  normalizePlatform,
  type Platform,
  parsePlatform,
  runsOn,
} from "./platform.ts";
export * from "./spec.ts";
