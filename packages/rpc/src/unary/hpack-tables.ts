/** The static table, RFC 7541 appendix A: index 1 and on, name and value of an entry with a space between. */
export const STATIC_TABLE: ReadonlyArray<readonly [name: string, value: string]> = `:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`
  .split("\n")
  .map((line) => {
    const space = line.indexOf(" ");
    return space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
  });

/** Bits of the code of each byte, RFC 7541 appendix B; 16 bytes a line. */
// biome-ignore format: a table
const HUFFMAN_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/** A position in the tree of codes: the byte that ends here, or where a further 0 and 1 lead. */
type Node = number | [zero: Node | undefined, one: Node | undefined];

let tree: Node | undefined;

/** The codes are in order of their length, then of the byte, so that the lengths alone give them. */
function huffmanTree(): Node {
  const root: Node = [undefined, undefined];
  const bytes = HUFFMAN_BITS.map((bits, byte) => ({ bits, byte })).sort(
    (a, b) => a.bits - b.bits || a.byte - b.byte,
  );
  let code = 0;
  let last = 0;
  for (const { bits, byte } of bytes) {
    code *= 2 ** (bits - last);
    last = bits;
    let node: Exclude<Node, number> = root;
    for (let bit = bits - 1; bit > 0; bit--) {
      const side = (code >>> bit) & 1;
      const next: Node = node[side] ?? [undefined, undefined];
      if (typeof next === "number") throw new Error("the table of Huffman codes is wrong");
      node[side] = next;
      node = next;
    }
    node[code & 1] = byte;
    code += 1;
  }
  return root;
}

/** @throws Error for what is no Huffman code of HPACK */
export function decodeHuffman(bytes: Uint8Array): string {
  tree ??= huffmanTree();
  const decoded: number[] = [];
  let node = tree;
  let padding = 0;
  for (const byte of bytes)
    for (let bit = 7; bit >= 0; bit--) {
      const side = (byte >>> bit) & 1;
      const next: Node | undefined = typeof node === "number" ? undefined : node[side];
      if (next === undefined) throw new Error("HPACK: no such Huffman code");
      padding = side === 1 ? padding + 1 : 8;
      node = next;
      if (typeof next === "number") {
        decoded.push(next);
        node = tree;
        padding = 0;
      }
    }
  // The rest of the last byte is the start of the longest code: ones.
  if (padding > 7) throw new Error("HPACK: bad padding of a Huffman code");
  return Buffer.from(decoded).toString("latin1");
}
