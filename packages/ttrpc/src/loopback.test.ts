import { afterAll, beforeAll, expect, test } from "bun:test";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import {
  StateRequest,
  StateResponse,
  TaskDefinition,
  WaitRequest,
} from "@longshore/api/containerd/runtime/task/v2/shim";
import { Request, Response } from "@longshore/api/ttrpc/request";
import { EngineError } from "@longshore/errors";
import {
  connectTtrpc,
  createTtrpcClient,
  encodeFrame,
  FrameDecoder,
  FrameType,
  serveTtrpc,
  type TtrpcContext,
  type TtrpcHandlers,
  type TtrpcServer,
} from "./index.ts";
import { MAX_CALLS } from "./server.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-ttrpc-"));
const address = path.join(dir, "s");
let server: TtrpcServer;
const seen: TtrpcContext[] = [];

beforeAll(() => {
  const handlers: Partial<TtrpcHandlers<TaskDefinition>> = {
    async connect(request, context) {
      seen.push(context);
      return { shimPid: request.id.length, taskPid: 7, version: context.metadata("who") ?? "" };
    },
    kill(request) {
      throw new EngineError("not_found", `no process ${request.id}`);
    },
    async pause() {
      throw new Error("a bug");
    },
    wait: (_, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    state: ({ id }) => StateResponse.fromPartial({ id: "x".repeat((id === "long" ? 3 : 5) << 20) }),
  };
  server = serveTtrpc();
  server.add(TaskDefinition, handlers as TtrpcHandlers<TaskDefinition>);
  server.listen(address);
});

afterAll(() => {
  server.close();
  fs.rmSync(dir, { recursive: true });
});

async function client() {
  const connection = await connectTtrpc(`unix://${address}`);
  return { connection, task: createTtrpcClient(connection, TaskDefinition) };
}

test("a call carries its request, metadata and deadline, and brings the response", async () => {
  const { connection, task } = await client();
  expect(await task.connect({ id: "abc" }, { metadata: { who: "me" }, timeoutMs: 5000 })).toEqual({
    shimPid: 3,
    taskPid: 7,
    version: "me",
  });
  expect(seen.at(-1)?.deadline).toBeGreaterThan(Date.now());
  connection.close();
});

test("200 calls at once over one connection each get their own answer", async () => {
  const { connection, task } = await client();
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => task.connect({ id: "x".repeat(i) })),
  );
  expect(answers.map((a) => a.shimPid)).toEqual(Array.from({ length: 200 }, (_, i) => i));
  connection.close();
});

test("errors keep their code and message; bugs are internal", async () => {
  const { connection, task } = await client();
  const kill = task.kill({ id: "abc", execId: "", signal: 9, all: false });
  expect(await kill.catch((e: EngineError) => [e.code, e.message])).toEqual(["not_found", "no process abc"]);
  expect(await task.pause({ id: "abc" }).catch((e: EngineError) => e.code)).toBe("internal");
  expect(await connection.call("a.B", "C", Buffer.alloc(0)).catch((e: EngineError) => e.code)).toBe(
    "unimplemented",
  );
  connection.close();
});

test("a timeout, an abort and a lost connection end a waiting call", async () => {
  const { connection, task } = await client();
  const code = (call: Promise<unknown>) => call.catch((e: EngineError) => e.code);
  expect(await code(task.wait({ id: "a", execId: "" }, { timeoutMs: 10 }))).toBe("deadline_exceeded");
  const abort = new AbortController();
  const aborted = code(task.wait({ id: "a", execId: "" }, { signal: abort.signal }));
  abort.abort();
  expect(await aborted).toBe("canceled");
  const lost = code(task.wait({ id: "a", execId: "" }));
  connection.close();
  expect(await lost).toBe("unavailable");
  expect(await code(task.connect({ id: "a" }))).toBe("unavailable");
});

test("connectTtrpc() fails as unavailable where nothing listens", async () => {
  expect(await connectTtrpc(path.join(dir, "none")).catch((e: EngineError) => e.code)).toBe("unavailable");
});

test("messages beyond 4 MiB are refused both ways, and the connection lives on", async () => {
  const { connection, task } = await client();
  const code = (call: Promise<unknown>) => call.catch((e: EngineError) => e.code);
  expect(await code(task.connect({ id: "x".repeat(5 << 20) }))).toBe("resource_exhausted");
  expect(await code(task.state({ id: "a", execId: "" }))).toBe("resource_exhausted");
  expect((await task.connect({ id: "x".repeat(1 << 20) })).shimPid).toBe(1 << 20);
  connection.close();
});

test("the server answers an oversized frame on its stream and reads on", async () => {
  const received: Buffer[] = [];
  const done = Promise.withResolvers<void>();
  const head = encodeFrame(1, FrameType.request, Buffer.alloc(0));
  const body = Buffer.alloc((4 << 20) + 1);
  head.writeUInt32BE(body.length, 0);
  let rest: Uint8Array = Buffer.concat([head, body]);
  const push = (socket: { write(data: Uint8Array): number }) => {
    while (rest.length > 0) {
      const n = Math.max(0, socket.write(rest));
      if (n === 0) return;
      rest = rest.subarray(n);
    }
  };
  const socket = await Bun.connect({
    unix: address,
    socket: {
      open: push,
      drain: push,
      data(_, chunk) {
        received.push(Buffer.from(chunk));
        done.resolve();
      },
    },
  });
  await done.promise;
  const answer = Buffer.concat(received);
  expect(answer.readUInt32BE(4)).toBe(1);
  expect(answer[8]).toBe(FrameType.response);
  expect(answer.toString("latin1")).toContain("exceed maximum message size");
  socket.terminate();
});

/** A call by the name of its method, as a frame. */
function requestFrame(streamId: number, method: string, payload: Uint8Array): Buffer {
  const { fullName: service } = TaskDefinition;
  const request = { service, method, payload: Buffer.from(payload), timeoutNano: 0n, metadata: [] };
  return encodeFrame(streamId, FrameType.request, Request.encode(request).finish());
}

test("the server refuses calls beyond the most that one connection may have under way", async () => {
  const wait = WaitRequest.encode({ id: "a", execId: "" }).finish();
  const socket = net.connect(address);
  const refused = Promise.withResolvers<[number, number | undefined]>();
  const decoder = new FrameDecoder({
    frame: ({ streamId, body }) => refused.resolve([streamId, Response.decode(body).status?.code]),
    oversized() {},
  });
  socket.on("data", (chunk) => decoder.push(chunk));
  for (let call = 0; call <= MAX_CALLS; call++) socket.write(requestFrame(2 * call + 1, "Wait", wait));
  const RESOURCE_EXHAUSTED = 8;
  expect(await refused.promise).toEqual([2 * MAX_CALLS + 1, RESOURCE_EXHAUSTED]);
  socket.destroy();
});

test("the server ends the connection of a client that does not read its answers", async () => {
  const state = StateRequest.encode({ id: "long", execId: "" }).finish();
  const calls = 40;
  const socket = net.connect(address);
  socket.on("error", () => {});
  for (let call = 0; call < calls; call++) socket.write(requestFrame(2 * call + 1, "State", state));
  const { task, connection } = await client();
  await task.connect({ id: "a" }); // the server has gone on to others
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  await once(socket, "close");
  expect(bytes).toBeLessThan((calls * 3) << 20);
  connection.close();
});

test("the client refuses to send more to a server that does not read", async () => {
  const silent = net.createServer({ pauseOnConnect: true });
  const peers: net.Socket[] = [];
  silent.on("connection", (peer) => peers.push(peer));
  const at = path.join(dir, "silent");
  await new Promise<void>((resolve) => silent.listen(at, resolve));
  const connection = await connectTtrpc(at);
  const codes: string[] = [];
  const calls = Array.from({ length: 40 }, () =>
    connection.call("a.B", "C", Buffer.alloc(3 << 20)).catch((e: EngineError) => codes.push(e.code)),
  );
  await Promise.race(calls);
  expect(new Set(codes)).toEqual(new Set(["resource_exhausted"]));
  connection.close();
  await Promise.all(calls);
  expect(codes.filter((code) => code === "unavailable").length).toBeGreaterThan(16);
  for (const peer of peers) peer.destroy();
  silent.close();
});

test("a deadline too far away for a timer does not end the call", async () => {
  const request = {
    ...{ service: TaskDefinition.fullName, method: "Wait", timeoutNano: BigInt(60 * 24 * 3600) * 10n ** 9n },
    ...{ payload: Buffer.from(WaitRequest.encode({ id: "a", execId: "" }).finish()), metadata: [] },
  };
  const frame = encodeFrame(1, FrameType.request, Request.encode(request).finish());
  const socket = net.connect(address);
  socket.write(frame);
  const answered = once(socket, "data").then(() => "answered");
  const { task, connection } = await client();
  const later = task.wait({ id: "a", execId: "" }, { timeoutMs: 100 }).catch(() => "later");
  expect(await Promise.race([answered, later])).toBe("later");
  socket.destroy();
  connection.close();
});
