/**
 * Names as text: labels with dots between them, without the last dot, in the case that they came in; the root is "". In a label a dot
 * or a backslash is written after a backslash, and what is no printable ASCII as `\DDD` (RFC 1035, 5.1).
 */

const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
const POINTER = 0xc0;
/** The largest place that a pointer can tell. */
const MAX_POINTER = 0x3fff;

const DOT = 0x2e;
const BACKSLASH = 0x5c;

/** A name of a message, and where what follows it starts. */
export interface ReadName {
  readonly name: string;
  readonly end: number;
}

/** Read a name that may be compressed. Undefined when it is none: cut off, too long, or with a pointer that doesn't point back. */
export function readName(message: Uint8Array, start: number): ReadName | undefined {
  let name = "";
  let bytes = 1;
  let end: number | undefined;
  let at = start;
  // Each pointer goes to before where its run of labels started, so this ends.
  let before = start;
  for (;;) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return { name, end: end ?? at + 1 };
    if (length <= MAX_LABEL_BYTES) {
      bytes += length + 1;
      if (bytes > MAX_NAME_BYTES || at + length >= message.length) return undefined;
      name += name === "" ? "" : ".";
      name += labelText(message, at + 1, length);
      at += length + 1;
      continue;
    }
    const low = message[at + 1];
    if ((length & POINTER) !== POINTER || low === undefined) return undefined;
    const target = ((length & ~POINTER) << 8) | low;
    if (target >= before) return undefined;
    end ??= at + 2;
    at = target;
    before = target;
  }
}

function labelText(message: Uint8Array, start: number, length: number): string {
  let text = "";
  for (let at = start; at < start + length; at++) {
    const byte = message[at] ?? 0;
    if (byte === DOT || byte === BACKSLASH) text += `\\${String.fromCharCode(byte)}`;
    else if (byte > 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, "0")}`;
  }
  return text;
}

/** The labels of a name, as text. */
export function labelsOf(name: string): string[] {
  if (name === "") return [];
  return name.includes("\\") ? (name.match(/(?:\\.|[^.\\])+/gs) ?? []) : name.split(".");
}

function labelBytes(label: string): Uint8Array {
  if (!label.includes("\\")) return Buffer.from(label, "latin1");
  const plain = label.replace(/\\(\d{3}|.)/gs, (_, escaped: string) =>
    escaped.length === 3 ? String.fromCharCode(Number(escaped) & 0xff) : escaped,
  );
  return Buffer.from(plain, "latin1");
}

/** Where in a message that is being written the ends of names are. */
export type NamePlaces = Map<string, number>;

/**
 * Write a name at `start`; its end, or less of it, points to where it was written before.
 *
 * @returns where it ends; undefined when there is no room, or no such name
 */
export function writeName(into: Buffer, start: number, name: string, places: NamePlaces): number | undefined {
  const labels = labelsOf(name);
  let at = start;
  for (let index = 0; index < labels.length; index++) {
    const rest = index === 0 ? name : labels.slice(index).join(".");
    const place = places.get(rest);
    if (place !== undefined) {
      if (at + 2 > into.length) return undefined;
      return into.writeUInt16BE((POINTER << 8) | place, at);
    }
    if (at <= MAX_POINTER) places.set(rest, at);
    const label = labelBytes(labels[index] ?? "");
    if (label.length === 0 || label.length > MAX_LABEL_BYTES) return undefined;
    if (at + 1 + label.length >= into.length || at - start + label.length > MAX_NAME_BYTES - 2)
      return undefined;
    into[at] = label.length;
    into.set(label, at + 1);
    at += label.length + 1;
  }
  if (at >= into.length) return undefined;
  into[at] = 0;
  return at + 1;
}

/** The address that a name below `in-addr.arpa` or `ip6.arpa` asks about, IPv6 in its full form; undefined for other names. */
export function reverseAddress(name: string): string | undefined {
  const ipv4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/i.exec(name);
  if (ipv4?.[1] !== undefined) {
    const octets = ipv4[1].split(".").slice(0, 4).reverse().map(Number);
    return octets.every((octet) => octet <= 255) ? octets.join(".") : undefined;
  }
  const ipv6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/i.exec(name);
  if (ipv6?.[1] === undefined) return undefined;
  const digits = ipv6[1].toLowerCase().replaceAll(".", "");
  return [...digits]
    .reverse()
    .join("")
    .replace(/(.{4})(?=.)/g, "$1:");
}

/** The bytes of an address, 4 or 16; undefined for what is none. */
export function addressBytes(address: string): Uint8Array | undefined {
  if (!address.includes(":")) {
    const octets = address.split(".");
    const right =
      octets.length === 4 && octets.every((octet) => /^\d{1,3}$/.test(octet) && Number(octet) <= 255);
    return right ? Uint8Array.from(octets, Number) : undefined;
  }
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  if (embedded?.[1] !== undefined && embedded[2] !== undefined) {
    const last = addressBytes(embedded[2]);
    if (!last) return undefined;
    const hex = Buffer.from(last).toString("hex");
    return addressBytes(`${embedded[1]}${hex.slice(0, 4)}:${hex.slice(4)}`);
  }
  const [head = "", tail, ...others] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const before = groups(head);
  const after = groups(tail ?? "");
  const missing = 8 - before.length - after.length;
  if (others.length > 0 || (tail === undefined ? missing !== 0 : missing < 1)) return undefined;
  const all = [...before, ...Array<string>(missing).fill("0"), ...after];
  if (!all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}
