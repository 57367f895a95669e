import { expect, test } from "bun:test";
import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { acceptWebsocket, websocketStreams } from "./websocket.ts";

const request = (headers: object) => ({ headers }) as IncomingMessage;

test("acceptWebsocket() answers as RFC 6455 has it, and refuses what is no websocket", () => {
  const headers = {
    ...{ upgrade: "WebSocket", "sec-websocket-version": "13" },
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  expect(acceptWebsocket(request(headers))["Sec-WebSocket-Accept"]).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  expect(() => acceptWebsocket(request({ ...headers, upgrade: "tcp" }))).toThrow("not websocket protocol");
  expect(() => acceptWebsocket(request({ ...headers, "sec-websocket-version": "8" }))).toThrow(
    "WebSocket Version",
  );
});

function masked(opcode: number, text: string, fin = true): Buffer {
  const payload = Buffer.from(text);
  const mask = [1, 2, 3, 4];
  const length =
    payload.length < 126 ? [payload.length | 0x80] : [126 | 0x80, payload.length >> 8, payload.length & 255];
  const body = payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0));
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, ...length, ...mask]), body]);
}

test("websocketStreams() carries bytes both ways, however they are cut, answers pings and the end", async () => {
  const [from, to] = [new PassThrough(), new PassThrough()];
  const { input, output } = websocketStreams({ input: from, output: to }, { text: false });
  const long = "x".repeat(300);
  const bytes = Buffer.concat([
    masked(2, "hel", false),
    masked(9, "are you there"),
    masked(0, "lo "),
    masked(1, long),
    masked(8, ""),
  ]);
  for (const byte of bytes) from.write(Buffer.from([byte]));
  let text = "";
  for await (const chunk of input) text += chunk;
  expect(text).toBe(`hello ${long}`);
  const sent = Buffer.concat(await Array.fromAsync(to as AsyncIterable<Buffer>));
  expect(sent.subarray(0, 2)).toEqual(Buffer.from([0x8a, 13]));
  expect(sent.toString("utf8", 2, 15)).toBe("are you there");
  expect([...sent.subarray(15)]).toEqual([0x88, 2, 0x03, 0xe8]);
  output.destroy();
});

test("websocketStreams() sends messages of any length, then the end", async () => {
  const [from, to] = [new PassThrough(), new PassThrough()];
  const { output } = websocketStreams({ input: from, output: to }, { text: true });
  output.write(Buffer.from("short"));
  output.end(Buffer.alloc(70_000, "y"));
  const sent = Buffer.concat(await Array.fromAsync(to as AsyncIterable<Buffer>));
  expect([...sent.subarray(0, 2)]).toEqual([0x81, 5]);
  expect(sent[7]).toBe(0x81);
  expect(sent[8]).toBe(127);
  expect(Number(sent.readBigUInt64BE(9))).toBe(70_000);
  expect([...sent.subarray(-4)]).toEqual([0x88, 2, 0x03, 0xe8]);
});

test("websocketStreams() ends what isn't masked as a client's must be", async () => {
  const [from, to] = [new PassThrough(), new PassThrough()];
  websocketStreams({ input: from, output: to }, { text: false });
  from.write(Buffer.from([0x82, 1, 65]));
  const sent = Buffer.concat(await Array.fromAsync(to as AsyncIterable<Buffer>));
  expect([...sent]).toEqual([0x88, 2, 0x03, 0xea]);
});
