/**
 * The v2 weight of v1 CPU shares: 2…262144 onto 1…10000 on the curve on which 1024 shares, the default there, are 100, the default
 * here; 0 is left alone. runc from 1.3 on, crun and Kubernetes draw this curve; runc 1.1 drew a straight line, on which 1024 are 39.
 */
export function sharesToWeight(shares: number): number {
  if (shares === 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

/** The v2 io weight (1…10000) of a v1 block I/O weight (10…1000); 0 is left alone. */
export function blkioToIoWeight(weight: number): number {
  return weight === 0 ? 0 : 1 + Math.trunc(((weight - 10) * 9999) / 990);
}

/** A v2 limit file's text: negative means no limit. */
export function limitText(value: number): string {
  return value < 0 ? "max" : plain(value);
}

/** A number in digits, also where it is bigger than what is exact. */
export function plain(value: number): string {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? String(value) : clamp(BigInt(value)).toString();
}

function clamp(value: bigint): bigint {
  const max = 0x7fffffffffffffffn;
  return value > max ? max : value;
}

/**
 * `memory.swap.max` of v2, which is swap alone, from the specification's memory + swap.
 *
 * @returns undefined when it is left alone
 * @throws RangeError where the two contradict each other, in the original's words
 */
export function swapMax(swap = 0, limit = 0): string | undefined {
  // Unlimited memory and nothing said of swap: both are unlimited, as in v1.
  if (swap === 0) return limit === -1 ? "max" : undefined;
  if (swap === -1) return "max";
  if (limit === -1) return plain(swap);
  if (limit === 0) throw new RangeError("unable to set swap limit without memory limit");
  if (limit < 0) throw new RangeError(`invalid memory value: ${limit}`);
  if (swap < limit) throw new RangeError("memory+swap limit should be >= memory limit");
  return plain(swap - limit);
}
