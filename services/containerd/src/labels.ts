import { EngineError } from "@longshore/errors";

const MAX_BYTES = 4096;

/**
 * Refuse a label that containerd would refuse: key and value together are limited to 4096 bytes.
 * @throws EngineError `invalid_argument`
 */
export function validateLabels(what: string, labels: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(labels)) {
    const total = Buffer.byteLength(key) + Buffer.byteLength(value);
    if (total <= MAX_BYTES) continue;
    const shown = key.length > 64 ? key.slice(0, 64) : key;
    throw new EngineError(
      "invalid_argument",
      `${what}: label key and value length (${total} bytes) greater than maximum size (${MAX_BYTES} bytes), key: ${shown}: invalid argument`,
    );
  }
}
