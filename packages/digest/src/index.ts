export {
  chainId,
  createHasher,
  type Digest,
  type DigestAlgorithm,
  digestOf,
  digestParts,
  type Hasher,
  isDigest,
  parseDigest,
} from "./digest.ts";
