import { expect } from "bun:test";
import { fuzz } from "@longshore/fuzz";
import fc from "fast-check";
import { message } from "./arbitrary-messages.ts";
import { FrameReader } from "./framing.ts";
import { readMessage, writeMessage } from "./message.ts";

fuzz(
  "readMessage() reads any bytes or returns undefined",
  fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readMessage(bytes)),
  { runs: 2000 },
);

const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));

fuzz(
  "readMessage() reads a message with changed bytes into one that can be written, or returns undefined",
  fc.property(message, fc.array(change, { maxLength: 8 }), fc.nat(), (whole, changes, cut) => {
    const { bytes } = writeMessage(whole);
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    const read = readMessage(bytes.subarray(0, cut % (bytes.length + 1) || bytes.length));
    if (read) expect(writeMessage(read).bytes.length).toBeGreaterThanOrEqual(12);
  }),
  { runs: 2000 },
);

fuzz(
  "FrameReader finds the same messages of a TCP connection however its bytes are cut",
  fc.property(fc.uint8Array({ maxLength: 600 }), fc.integer({ min: 1, max: 50 }), (bytes, pieceBytes) => {
    const whole = [...new FrameReader().push(bytes)].map((one) => one.toString("hex"));
    const reader = new FrameReader();
    const pieces: string[] = [];
    for (let at = 0; at < bytes.length; at += pieceBytes)
      for (const one of reader.push(bytes.slice(at, at + pieceBytes))) pieces.push(one.toString("hex"));
    expect(pieces).toEqual(whole);
  }),
  { runs: 1000 },
);
