import type { DeviceRule } from "@longshore/oci";

// The shortest rules with the meaning of those given, in the way that the kernel's v1 devices controller understands them: one
// default, and exceptions from it. Both hierarchies get them, so that a list means the same in both.

/** A rule about one kind of devices; −1 stands for any number. */
export interface Exception {
  type: "b" | "c";
  major: number;
  minor: number;
  /** Of ACCESS_*. */
  access: number;
}

/** Everything but the exceptions is allowed, or nothing but them. */
export interface DevicePolicy {
  allow: boolean;
  exceptions: Exception[];
}

/** What linux/bpf.h and the letters of v1 call the kinds of access. */
const LETTERS = "mrw";
export const ACCESS_ALL = 7;

export function accessText(access: number): string {
  // The kernel prints and the original writes them in this order.
  return [...(access === 0 ? "" : "rwm")]
    .filter((letter) => access & (1 << LETTERS.indexOf(letter)))
    .join("");
}

function accessBits(text: string): number {
  let bits = 0;
  for (const letter of text) {
    const bit = LETTERS.indexOf(letter);
    if (bit < 0) throw new RangeError(`unknown device access ${letter}`);
    bits |= 1 << bit;
  }
  return bits;
}

/** @throws RangeError for a rule that v1 would silently ignore: taking one device out of a wildcard that allows it */
export function devicePolicy(rules: readonly DeviceRule[]): DevicePolicy {
  let allow = false;
  let exceptions = new Map<string, Exception>();
  for (const rule of rules) {
    const { type = "a", major = -1, minor = -1, access = "rwm" } = rule;
    if (type === "a" || type === "") {
      allow = rule.allow === true;
      exceptions = new Map();
      continue;
    }
    if (type !== "b" && type !== "c") throw new RangeError(`invalid type ${JSON.stringify(type)}`);
    const exception: Exception = { type, major, minor, access: accessBits(access) };
    if ((rule.allow === true) === allow) withdraw(exceptions, exception, allow);
    else add(exceptions, exception);
  }
  const sorted = [...exceptions.values()].sort(
    (a, b) => a.major - b.major || a.minor - b.minor || (a.type < b.type ? -1 : 1),
  );
  return { allow, exceptions: sorted };
}

const keyOf = ({ type, major, minor }: Omit<Exception, "access">) => `${type} ${major}:${minor}`;

function add(exceptions: Map<string, Exception>, exception: Exception): void {
  const key = keyOf(exception);
  const access = exception.access | (exceptions.get(key)?.access ?? 0);
  exceptions.set(key, { ...exception, access });
}

function withdraw(
  exceptions: Map<string, Exception>,
  { type, major, minor, access }: Exception,
  allow: boolean,
): void {
  const own = keyOf({ type, major, minor });
  for (const wider of [
    { type, major: -1, minor },
    { type, major, minor: -1 },
    { type, major: -1, minor: -1 },
  ]) {
    const key = keyOf(wider);
    if (key === own || ((exceptions.get(key)?.access ?? 0) & access) === 0) continue;
    throw new RangeError(
      `unable to remove '${allow ? "deny" : "allow"}' exception: requested rule [${own} ${accessText(access)}] not supported by devices cgroupv1 (cannot punch hole in existing wildcard rule [${key} ${accessText(exceptions.get(key)?.access ?? 0)}])`,
    );
  }
  const left = (exceptions.get(own)?.access ?? 0) & ~access;
  if (left === 0) exceptions.delete(own);
  else exceptions.set(own, { type, major, minor, access: left });
}

/** The writes to `devices.allow` and `devices.deny` that bring a policy about, whatever was in force. */
export function devicesWrites({ allow, exceptions }: DevicePolicy): [file: string, value: string][] {
  const name = (rule: boolean) => (rule ? "devices.allow" : "devices.deny");
  const number = (value: number) => (value < 0 ? "*" : String(value));
  return [
    [name(allow), "a"],
    ...exceptions.map(({ type, major, minor, access }): [string, string] => [
      name(!allow),
      `${type} ${number(major)}:${number(minor)} ${accessText(access)}`,
    ]),
  ];
}
