export { expectRefused, type FuzzOptions, fuzz, mutated } from "./fuzz.ts";
