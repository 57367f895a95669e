export { checkDigest, isDigest } from "./digest.ts";
export {
  canonicalName,
  canonicalString,
  familiarName,
  familiarString,
  isImageId,
  parseReference,
  type Reference,
  trimReference,
  tryParseReference,
  withDefaultTag,
  withDigest,
  withTag,
} from "./reference.ts";
