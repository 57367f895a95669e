import { EngineError } from "@longshore/errors";

/** How large something may become when it is unpacked. */
export interface SizeLimits {
  /** Bytes, whatever it was packed in. */
  readonly maxBytes: number;
  /** Times its packed size; counts for what is larger than `freeBytes` only: a file of zeros may well be packed that small. */
  readonly maxRatio: number;
  readonly freeBytes: number;
}

/** Larger than any layer that is of use; gzip packs nothing but zeros 1000 times smaller. */
export const DEFAULT_SIZE_LIMITS: SizeLimits = {
  maxBytes: 256 * 2 ** 30,
  maxRatio: 500,
  freeBytes: 2 ** 30,
};

/**
 * Refuse what has become too large.
 *
 * @param what names it in the error
 * @throws EngineError `resource_exhausted`
 */
export function checkSize(
  what: string,
  { packed, unpacked }: { packed: number; unpacked: number },
  { maxBytes, maxRatio, freeBytes }: SizeLimits,
): void {
  if (unpacked > maxBytes) {
    throw new EngineError(
      "resource_exhausted",
      `${what} unpacks to more than ${maxBytes} bytes, the limit here`,
    );
  }
  if (unpacked > freeBytes && unpacked > packed * maxRatio) {
    throw new EngineError(
      "resource_exhausted",
      `${what} of ${packed} bytes unpacks to more than ${maxRatio} times its size, the limit here`,
    );
  }
}
