import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { StateResponse, TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { EngineError } from "@longshore/errors";
import {
  connectTtrpc,
  createTtrpcClient,
  encodeFrame,
  FrameType,
  serveTtrpc,
  type TtrpcContext,
  type TtrpcHandlers,
  type TtrpcServer,
} from "./index.ts";

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
    state: () => StateResponse.fromPartial({ id: "x".repeat(5 << 20) }),
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
