import { expect, test } from "bun:test";
import { MESSAGE_LIMIT_BYTES } from "../message-limit.ts";
import { AnswerBody } from "./answer-body.ts";

test("AnswerBody.push() keeps a million pieces in as much memory as their bytes need twice", () => {
  const body = new AnswerBody();
  const pieces = 1_000_000;
  for (let i = 0; i < pieces; i++) {
    body.push(Buffer.of(i & 0xff));
    body.push(Buffer.alloc(0));
  }
  expect(body.bytes).toEqual(Buffer.from(Uint8Array.from({ length: pieces }, (_, i) => i & 0xff)));
  expect(body.bytes.buffer.byteLength).toBeLessThanOrEqual(2 * pieces);
});

test("AnswerBody.push() copies what it is given, and refuses what is over the limit", () => {
  const body = new AnswerBody();
  const piece = Buffer.of(0, 0xff, 0xff, 0xff, 0xff);
  body.push(piece);
  piece.fill(9);
  expect(body.bytes).toEqual(Buffer.of(0, 0xff, 0xff, 0xff, 0xff));
  body.push(Buffer.alloc(MESSAGE_LIMIT_BYTES));
  const announced = 0xffffffff;
  expect(() => body.push(Buffer.of(1))).toThrow(`larger than max (${announced} vs. ${MESSAGE_LIMIT_BYTES})`);
});
