import { EngineError } from "@longshore/errors";

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

const DIGEST = /^([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/;

/**
 * Check a digest such as `sha256:4f2c…` and give it back.
 * @throws EngineError `invalid_argument` with the words of opencontainers/go-digest
 */
export function checkDigest(digest: string): string {
  const [, algorithm, encoded] = DIGEST.exec(digest) ?? [];
  if (algorithm === undefined || encoded === undefined) throw invalid("invalid checksum digest format");
  const length = Object.hasOwn(HEX_LENGTH, algorithm) ? HEX_LENGTH[algorithm] : undefined;
  if (length === undefined) throw invalid("unsupported digest algorithm");
  if (encoded.length !== length) throw invalid("invalid checksum digest length");
  if (!/^[a-f0-9]+$/.test(encoded)) throw invalid("invalid checksum digest format");
  return digest;
}

export function isDigest(text: string): boolean {
  try {
    checkDigest(text);
    return true;
  } catch {
    return false; // checkDigest throws for nothing else
  }
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
