const UNITS = "kmgtp";

/** Bytes of a text as `64M` or `1.5 GiB`, by powers of 1024; undefined for what is none. */
export function parseRamSize(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return Math.trunc(Number(digits) * 1024 ** (UNITS.indexOf(unit.toLowerCase() || "-") + 1));
}
