import { expect, test } from "bun:test";
import fc from "fast-check";
import { message } from "./arbitrary-messages.ts";
import { CLASS_IN, FLAG, type Message, nameBytes, readMessage, TYPE, writeMessage } from "./message.ts";
import { addressBytes, labelsOf, readName, reverseAddress } from "./name.ts";

const EMPTY = { id: 7, flags: 0, rcode: 0, questions: [], answers: [], authorities: [], additionals: [] };

const plain = (value: Message): unknown =>
  JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Uint8Array ? [...v] : v)));

test("readMessage() reads what writeMessage() wrote", () => {
  fc.assert(
    fc.property(message, (written) => {
      const read = readMessage(writeMessage(written).bytes);
      expect(read && plain(read)).toEqual(plain(written));
    }),
  );
});

test("writeMessage() keeps as many answers as have room, and says that there were more", () => {
  fc.assert(
    fc.property(message, fc.integer({ min: 512, max: 1232 }), (whole, limit) => {
      const questions = whole.questions.slice(0, 1);
      const cut = writeMessage({ ...whole, questions }, limit);
      expect(cut.bytes.length).toBeLessThanOrEqual(limit);
      const read = readMessage(cut.bytes);
      const complete =
        read?.answers.length === whole.answers.length && read.authorities.length === whole.authorities.length;
      expect(cut.truncated).toBe(!complete);
      expect(((read?.flags ?? 0) & FLAG.TRUNCATED) !== 0).toBe(cut.truncated);
      expect(read?.edns).toEqual(whole.edns as never);
    }),
  );
});

test("names are compressed, and read with their case", () => {
  const records = ["a.Example.net", "b.Example.net", "Example.net"].map((name) => ({
    ...{ name, type: TYPE.A, class: CLASS_IN, ttl: 60, data: Uint8Array.of(10, 0, 0, 1) },
  }));
  const { bytes } = writeMessage({ ...EMPTY, answers: records });
  expect(bytes.length).toBe(12 + (15 + 14) + (4 + 14) + (2 + 14));
  expect(readMessage(bytes)?.answers.map(({ name }) => name)).toEqual(records.map(({ name }) => name));
});

test("names in data are written out, as they may point into what came before", () => {
  // An answer to `a.b`: an MX of it, whose exchange is `mx.` and a pointer to the question's `b`.
  const wire = Buffer.from(
    "0007800000010001000000000161016200000f0001c00c000f00010000003c00070005026d78c00e",
    "hex",
  );
  const [answer] = readMessage(wire)?.answers ?? [];
  expect(Buffer.from(answer?.data ?? []).toString("hex")).toBe("0005026d78016200");
});

test("readName() takes no pointer that doesn't point back, and no name beyond 255 bytes", () => {
  expect(readName(Buffer.from("c000", "hex"), 0)).toBeUndefined();
  expect(readName(Buffer.from("0161c000", "hex"), 0)).toBeUndefined();
  expect(readName(Buffer.from("c002c000", "hex"), 2)).toBeUndefined();
  expect(readName(Buffer.from("016100c000", "hex"), 3)).toEqual({ name: "a", end: 5 });
  const labels = (count: number) => Buffer.concat([Buffer.from("0161".repeat(count), "hex"), Buffer.of(0)]);
  expect(readName(labels(127), 0)?.end).toBe(255);
  expect(readName(labels(128), 0)).toBeUndefined();
});

test("labels may hold dots", () => {
  const bytes = Buffer.from("03612e62016300", "hex");
  expect(readName(bytes, 0)?.name).toBe("a\\.b.c");
  expect(labelsOf("a\\.b.c")).toEqual(["a\\.b", "c"]);
  expect(Buffer.from(nameBytes("a\\.b.c") ?? []).equals(bytes)).toBe(true);
});

test("addressBytes() and reverseAddress()", () => {
  const hex = (address: string) => Buffer.from(addressBytes(address) ?? []).toString("hex");
  expect(hex("10.0.0.255")).toBe("0a0000ff");
  expect(hex("::1")).toBe(`${"0".repeat(31)}1`);
  expect(hex("fd00:0:1::ab")).toBe("fd0000000001000000000000000000ab");
  expect(hex("::ffff:10.0.0.1")).toBe("00000000000000000000ffff0a000001");
  for (const bad of [
    "",
    "1.2.3",
    "1.2.3.256",
    "::1::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "g::",
    "1:2:3:4:5:6:7::8:9",
  ])
    expect(addressBytes(bad)).toBeUndefined();
  expect(reverseAddress("2.1.168.192.IN-ADDR.arpa")).toBe("192.168.1.2");
  expect(reverseAddress("256.1.168.192.in-addr.arpa")).toBeUndefined();
  expect(reverseAddress(`${"1.0.".repeat(16)}ip6.arpa`)).toBe("0101:0101:0101:0101:0101:0101:0101:0101");
  expect(reverseAddress("1.168.192.in-addr.arpa")).toBeUndefined();
});
