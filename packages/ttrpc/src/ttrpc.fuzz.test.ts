import { afterAll, beforeAll, expect } from "bun:test";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { fuzz, mutated } from "@longshore/fuzz";
import fc from "fast-check";
import {
  connectTtrpc,
  createTtrpcClient,
  encodeFrame,
  FrameDecoder,
  FrameType,
  serveTtrpc,
  type TtrpcHandlers,
  type TtrpcServer,
} from "./index.ts";

const VALID = Buffer.concat([
  encodeFrame(1, FrameType.request, Buffer.from("hello")),
  encodeFrame(3, FrameType.request, Buffer.alloc(0)),
  encodeFrame(5, FrameType.data, Buffer.from("x"), 4),
]);

function decode(pieces: readonly Uint8Array[]): string[] {
  const found: string[] = [];
  const decoder = new FrameDecoder({
    frame: ({ streamId, type, flags, body }) =>
      found.push(`${streamId} ${type} ${flags} ${body.toString("hex")}`),
    oversized: (...head) => found.push(`oversized ${head.join(" ")}`),
  });
  for (const piece of pieces) decoder.push(piece);
  return found;
}

fuzz(
  "FrameDecoder finds the same frames in any bytes however they are cut",
  fc.property(mutated(VALID), fc.integer({ min: 1, max: 40 }), (bytes, pieceBytes) => {
    const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
      bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
    );
    expect(decode(pieces)).toEqual(decode([bytes]));
  }),
  { runs: 1000 },
);

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-ttrpc-"));
const address = path.join(dir, "s");
let server: TtrpcServer;

beforeAll(() => {
  server = serveTtrpc();
  const handlers: Partial<TtrpcHandlers<TaskDefinition>> = {
    connect: async ({ id }) => ({ shimPid: id.length, taskPid: 1, version: "" }),
  };
  server.add(TaskDefinition, handlers as TtrpcHandlers<TaskDefinition>);
  server.listen(address);
});
afterAll(() => {
  server.close();
  fs.rmSync(dir, { recursive: true });
});

/** Send bytes on a connection of their own; resolves when the server has closed it or has read them all. */
function send(bytes: Buffer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = net.connect(address);
  socket.on("error", () => resolve());
  socket.on("close", () => resolve());
  socket.resume();
  socket.end(bytes);
  return promise;
}

const request = fc
  .tuple(
    fc.constantFrom("containerd.task.v2.Task", "no.Such", ""),
    fc.constantFrom("Connect", "Nothing", "__proto__", "constructor"),
    fc.uint8Array({ maxLength: 30 }),
  )
  .map(([service, method, payload]) => {
    // Fields 1 to 3 of ttrpc's Request: service, method, payload; each is length-delimited.
    const field = (number: number, bytes: Uint8Array) =>
      Buffer.concat([Buffer.of((number << 3) | 2, bytes.length), bytes]);
    return Buffer.concat([field(1, Buffer.from(service)), field(2, Buffer.from(method)), field(3, payload)]);
  });
const frame = fc
  .tuple(fc.nat(6), fc.nat(5), fc.oneof(request, fc.uint8Array({ maxLength: 50 })), fc.nat(7))
  .map(([streamId, type, body, flags]) => encodeFrame(streamId, type, body, flags));

fuzz(
  "serveTtrpc() answers others whatever one client sends",
  fc.asyncProperty(fc.array(frame, { maxLength: 6 }), fc.nat(40), async (frames, cut) => {
    const bytes = Buffer.concat(frames);
    await send(bytes.subarray(0, Math.max(0, bytes.length - cut)));
    const connection = await connectTtrpc(`unix://${address}`);
    try {
      const task = createTtrpcClient(connection, TaskDefinition);
      expect(await task.connect({ id: "abc" }, { timeoutMs: 5000 })).toMatchObject({ shimPid: 3 });
    } finally {
      connection.close();
    }
  }),
  { runs: 200 },
);
