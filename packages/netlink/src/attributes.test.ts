import { expect, test } from "bun:test";
import fc from "fast-check";
import { attributeNumber, attributeText, NetlinkWriter, parseAttributes } from "./attributes.ts";

test("parseAttributes() reads what NetlinkWriter wrote, whatever the lengths", () => {
  const attribute = fc.record({ type: fc.nat(0x3fff), value: fc.uint8Array({ maxLength: 300 }) });
  fc.assert(
    fc.property(fc.uniqueArray(attribute, { selector: ({ type }) => type }), (attributes) => {
      const writer = new NetlinkWriter(8);
      for (const { type, value } of attributes) writer.attributeBytes(type, value);
      expect(writer.length % 4).toBe(0);
      const parsed = parseAttributes(writer.written);
      expect([...parsed].map(([type, value]) => ({ type, value: [...value] }))).toEqual(
        attributes.map(({ type, value }) => ({ type, value: [...value] })),
      );
    }),
  );
});

test("parseAttributes() survives any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void parseAttributes(bytes)));
});

test("NetlinkWriter nests attributes, with the kernel's flag", () => {
  const writer = new NetlinkWriter();
  writer.nest(18, () => writer.attributeString(1, "veth").nest(2, () => writer.attributeU32(7, 0xfeedface)));
  expect(writer.written.subarray(0, 4)).toEqual(Uint8Array.of(28, 0, 18, 0x80));
  const outer = parseAttributes(parseAttributes(writer.written).get(18) ?? new Uint8Array());
  expect(attributeText(outer.get(1))).toBe("veth");
  expect(attributeNumber(parseAttributes(outer.get(2) ?? new Uint8Array()).get(7))).toBe(0xfeedface);
});
