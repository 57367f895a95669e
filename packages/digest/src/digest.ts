import { EngineError } from "@longshore/errors";

/** `sha256:<64 hex digits>`: the name of some bytes. Only `parseDigest` and hashing make one. */
export type Digest = `${DigestAlgorithm}:${string}`;

export type DigestAlgorithm = "sha256" | "sha384" | "sha512";

const HEX_LENGTH: Record<DigestAlgorithm, number> = { sha256: 64, sha384: 96, sha512: 128 };

/** `algorithm ":" encoded`; an algorithm has components joined by `+`, `.`, `_` or `-` (OCI image specification, descriptor.md). */
const FORMAT = /^([A-Za-z0-9]+(?:[+._-][A-Za-z0-9]+)*):([A-Za-z0-9=_-]+)$/;

/**
 * Check a digest, with the words of Go's digest package.
 *
 * @throws EngineError `invalid_argument`
 */
export function parseDigest(text: string): Digest {
  const [, algorithm, encoded] = FORMAT.exec(text) ?? [];
  if (algorithm === undefined || encoded === undefined) {
    throw new EngineError("invalid_argument", "invalid checksum digest format");
  }
  if (!isAlgorithm(algorithm)) throw new EngineError("invalid_argument", "unsupported digest algorithm");
  if (encoded.length !== HEX_LENGTH[algorithm]) {
    throw new EngineError("invalid_argument", "invalid checksum digest length");
  }
  if (!/^[0-9a-f]+$/.test(encoded)) {
    throw new EngineError("invalid_argument", "invalid checksum digest format");
  }
  return text as Digest;
}

export function isDigest(text: string): text is Digest {
  try {
    parseDigest(text);
    return true;
  } catch {
    return false;
  }
}

/** The algorithm's name and the hex digits. */
export function digestParts(digest: Digest): { algorithm: DigestAlgorithm; hex: string } {
  const colon = digest.indexOf(":");
  return { algorithm: digest.slice(0, colon) as DigestAlgorithm, hex: digest.slice(colon + 1) };
}

/** A running hash. */
export interface Hasher {
  readonly algorithm: DigestAlgorithm;
  update(bytes: Uint8Array | string): void;
  /** The digest of all bytes so far; more may follow. */
  digest(): Digest;
}

export function createHasher(algorithm: DigestAlgorithm = "sha256"): Hasher {
  // Bun's own hasher: no node:crypto, which costs start-up time.
  const hash = new Bun.CryptoHasher(algorithm);
  return {
    algorithm,
    update: (bytes) => void hash.update(bytes),
    digest: () => `${algorithm}:${hash.copy().digest("hex")}`,
  };
}

/** The sha256 digest of bytes or of a text's UTF-8. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${Bun.CryptoHasher.hash("sha256", bytes, "hex")}`;
}

/**
 * The chain id of a stack of layers, lowest first: what a committed snapshot is named after.
 *
 * @throws EngineError `invalid_argument` when there is no layer
 * @see OCI image specification, config.md, "Layer ChainID"
 */
export function chainId(diffIds: readonly Digest[]): Digest {
  const [first, ...rest] = diffIds;
  if (first === undefined) throw new EngineError("invalid_argument", "no layer, hence no chain id");
  return rest.reduce((parent, diffId) => digestOf(`${parent} ${diffId}`), first);
}

function isAlgorithm(name: string): name is DigestAlgorithm {
  return Object.hasOwn(HEX_LENGTH, name);
}
