import fc from "fast-check";
import {
  CLASS_IN,
  FLAG,
  type Message,
  nameBytes,
  type Question,
  type ResourceRecord,
  TYPE,
} from "./message.ts";

const label = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) =>
  Array.from(bytes, (byte) => {
    const text = String.fromCharCode(byte);
    if (text === "." || text === "\\") return `\\${text}`;
    return byte > 0x20 && byte < 0x7f ? text : `\\${String(byte).padStart(3, "0")}`;
  }).join(""),
);
const name = fc.array(label, { maxLength: 10 }).map((labels) => labels.join("."));
const number16 = fc.integer({ min: 0, max: 0xffff });
const opaqueType = number16.filter((type) => type > 64);
const record: fc.Arbitrary<ResourceRecord> = fc.oneof(
  fc.record({
    ...{ name, type: opaqueType, class: number16, ttl: fc.integer({ min: 0, max: 0xffff_ffff }) },
    data: fc.uint8Array({ maxLength: 40 }),
  }),
  fc.record({ name, target: name }).map(({ name, target }) => ({
    ...{ name, type: TYPE.CNAME, class: CLASS_IN, ttl: 1 },
    data: new Uint8Array(nameBytes(target) ?? []),
  })),
);
/** Any message that can be written, for tests. */
export const message: fc.Arbitrary<Message> = fc
  .record({
    ...{ id: number16, flags: number16.map((flags) => flags & ~0xf & ~FLAG.TRUNCATED) },
    rcode: fc.integer({ min: 0, max: 15 }),
    questions: fc.array(fc.record<Question>({ name, type: number16, class: number16 }), { maxLength: 2 }),
    answers: fc.array(record, { maxLength: 5 }),
    authorities: fc.array(record, { maxLength: 3 }),
    additionals: fc.array(record, { maxLength: 3 }),
    edns: fc.option(
      fc.record({ udpBytes: number16, version: fc.integer({ min: 0, max: 255 }), dnssecOk: fc.boolean() }),
      { nil: undefined },
    ),
  })
  .map(({ edns, ...rest }) => ({ ...rest, ...(edns && { edns }) }));
