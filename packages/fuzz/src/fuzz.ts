import { test } from "bun:test";
import fc from "fast-check";

export interface FuzzOptions {
  /** How many inputs `npm test` tries. */
  runs: number;
}

/** Set by `npm run fuzz`: the time of one file in seconds, and the seed. */
const FILE_SECONDS = Number(process.env.LONGSHORE_FUZZ_SECONDS ?? 0);
const SEED = Number(process.env.LONGSHORE_FUZZ_SEED ?? 1);
const LONG = FILE_SECONDS > 0;
const SHORT_TIMEOUT_MS = 60_000;

/** Number of targets in this process, known once the files are loaded, which is before the first target runs. */
let targets = 0;

/**
 * Register a fuzz target as a test.
 *
 * @param name a sentence with the parser's name in it
 * @param property throws for an input that the parser handles wrongly
 */
export function fuzz<T>(name: string, property: fc.IRawProperty<T>, { runs }: FuzzOptions): void {
  targets++;
  const timeoutMs = LONG ? 2 * FILE_SECONDS * 1000 + SHORT_TIMEOUT_MS : SHORT_TIMEOUT_MS;
  test(name, () => fc.assert(property, parameters(runs)), timeoutMs);
}

function parameters<T>(runs: number): fc.Parameters<T> {
  // A fixed seed: a change must not make another test fail by chance.
  if (!LONG) return { numRuns: runs, seed: SEED };
  const limitMs = (FILE_SECONDS * 1000) / targets;
  return {
    numRuns: Number.MAX_SAFE_INTEGER,
    seed: SEED,
    interruptAfterTimeLimit: limitMs,
    markInterruptAsFailure: false,
  };
}

/**
 * Run a parser on hostile input: it returns, or throws an error of its own.
 *
 * @param isExpected whether an error is one that the parser means to throw
 * @returns the parser's result, undefined when it has refused the input
 * @throws the parser's error when it is not expected, such as a TypeError
 */
export function expectRefused<T>(parse: () => T, isExpected: (error: unknown) => boolean): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!isExpected(error)) throw error;
    return undefined;
  }
}

/** Valid input with some bytes changed, a part cut out or repeated. */
export function mutated(valid: Uint8Array): fc.Arbitrary<Buffer> {
  const place = fc.nat(Math.max(0, valid.length - 1));
  const changes = fc.array(fc.tuple(place, fc.integer({ min: 0, max: 255 })), { maxLength: 8 });
  const cut = fc.tuple(place, fc.nat(64));
  return fc
    .tuple(changes, fc.option(cut, { freq: 3 }), fc.option(cut, { freq: 3 }))
    .map(([bytes, removed, repeated]) => {
      let result = Buffer.from(valid);
      for (const [at, byte] of bytes) result[at] = byte;
      if (removed) result = without(result, removed);
      if (repeated) result = twice(result, repeated);
      return result;
    });
}

function without(bytes: Buffer, [at, length]: [number, number]): Buffer<ArrayBuffer> {
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
}

function twice(bytes: Buffer, [at, length]: [number, number]): Buffer<ArrayBuffer> {
  return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
}
