/** How long something took or is ago, in Docker's words: `About a minute`, `3 days`. @see docker/go-units */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(ms / 60_000);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(ms / 3_600_000 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(ms / 3_600_000 / 24 / 365)} years`;
}

const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/** Bytes in units of 1000: `1.98MB`. */
export function humanSize(bytes: number, precision = 4): string {
  return scaled(bytes, 1000, DECIMAL, precision);
}

/** Bytes in units of 1024: `62.79GiB`. */
export function binarySize(bytes: number): string {
  return scaled(bytes, 1024, BINARY, 4);
}

function scaled(bytes: number, base: number, units: readonly string[], precision: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= base && unit < units.length - 1) {
    size /= base;
    unit += 1;
  }
  return significant(size, precision) + units[unit];
}

/** As Go's `%.4g`: significant digits without trailing zeros, an exponent when the number does not fit. */
function significant(value: number, digits: number): string {
  if (value === 0) return "0";
  const [mantissa = "", exponent = "0"] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power >= digits || power < -4) {
    const sign = power < 0 ? "-" : "+";
    return `${trimZeros(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return trimZeros(value.toFixed(Math.max(0, digits - 1 - power)));
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

const SUFFIX_POWER: Readonly<Record<string, number>> = { b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/** `512m`, `1.5g`, `64KiB` → bytes, in units of 1024. @throws Error in go-units' words */
export function parseMemory(text: string): number {
  const [, number, rest = ""] = /^(-?[0-9.]+)(?: ?)(.*)$/s.exec(text) ?? [];
  if (number === undefined || !/^-?(\d+\.?\d*|\.\d+)$/.test(number))
    throw new Error(`invalid size: '${text}'`);
  const suffix = rest.toLowerCase();
  const power = suffix === "" ? 0 : SUFFIX_POWER[suffix.charAt(0)];
  if (power === undefined || !/^(|b|[kmgtp](i?b)?)$/.test(suffix))
    throw new Error(`invalid suffix: '${rest}'`);
  const value = Number(number);
  if (value < 0) throw new Error(`invalid size: '${text}'`);
  return Math.trunc(value * 1024 ** power);
}

/** `1.5` CPUs → 1500000000. @throws Error in Docker's words */
export function parseCpus(text: string): number {
  const [, sign, whole = "", fraction = ""] = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text) ?? [];
  if (sign === undefined || whole + fraction === "") {
    throw new Error(`failed to parse ${text} as a rational number`);
  }
  if (/[1-9]/.test(fraction.slice(9))) throw new Error("value is too precise");
  const nano = Number(whole) * 1e9 + Number(fraction.slice(0, 9).padEnd(9, "0"));
  return sign === "-" ? -nano : nano;
}
