import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeHeaders, HpackDecoder } from "./hpack.ts";

const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");

describe("HpackDecoder", () => {
  // RFC 7541, C.6: three responses on one connection, in Huffman codes. Its table has 256 bytes there, so that the same entries go.
  test("reads the responses of RFC 7541, appendix C.6", () => {
    const decoder = new HpackDecoder();
    decoder.decode(bytes("3fe101")); // the table's size becomes 256
    const first = [
      [":status", "302"],
      ["cache-control", "private"],
      ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ["location", "https://www.example.com"],
    ];
    const block =
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    expect(decoder.decode(bytes(block))).toEqual(first as never);
    expect(decoder.decode(bytes("4883 640e ffc1 c0bf"))).toEqual([
      [":status", "307"],
      ...first.slice(1),
    ] as never);
    const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    const third =
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
    expect(decoder.decode(bytes(third))).toEqual([
      [":status", "200"],
      ["cache-control", "private"],
      ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
      ["location", "https://www.example.com"],
      ["content-encoding", "gzip"],
      ["set-cookie", cookie],
    ]);
  });

  test("reads what encodeHeaders() writes, of any length", () => {
    const text = fc.string({ unit: "binary-ascii", maxLength: 300 });
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text)), (headers) => {
        expect(new HpackDecoder().decode(encodeHeaders(headers))).toEqual(headers);
      }),
    );
  });
});
