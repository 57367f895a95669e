/** The v2 weight of v1 CPU shares: 2…262144 onto 1…10000; 0 is left alone. The line that runc 1.1 draws. */
export function sharesToWeight(shares: number): number {
  return shares === 0 ? 0 : Math.floor(1 + ((Math.min(Math.max(shares, 2), 262144) - 2) * 9999) / 262142);
}

/** The v2 io weight (1…10000) of a v1 block I/O weight (10…1000); 0 is left alone. */
export function blkioToIoWeight(weight: number): number {
  return weight === 0 ? 0 : Math.floor(1 + ((Math.min(Math.max(weight, 10), 1000) - 10) * 9999) / 990);
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
 */
export function swapMax(swap: number | undefined, limit: number | undefined): string | undefined {
  if (swap === undefined || swap === 0) return undefined;
  if (swap < 0) return "max";
  if (limit === undefined || limit <= 0) return undefined;
  if (swap < limit) throw new RangeError("memory+swap limit should be >= memory limit");
  return plain(swap - limit);
}
