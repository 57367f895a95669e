import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { errorCode } from "@longshore/errors";
import { channelTo, createClient, serve } from "./index.ts";
import { MESSAGE_LIMIT_BYTES } from "./message-limit.ts";

const { info, write } = ContentDefinition.methods;
const service = { fullName: ContentDefinition.fullName, methods: { info, write } } as const;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "rpc-limit-"));
const socket = path.join(dir, "s.sock");
const server = serve();
const channel = channelTo(socket);
const client = createClient(channel, service);

const described = (digest: string) => ({
  info: { digest, size: 0n, createdAt: undefined, updatedAt: undefined, labels: {} },
});
/** More bytes than a message has besides its one long text. */
const ROOM = 64;
const SMALL = "x".repeat(MESSAGE_LIMIT_BYTES - ROOM);
const LARGE = "x".repeat(MESSAGE_LIMIT_BYTES + 1);

beforeAll(async () => {
  server.add(service, {
    info: async ({ digest }) => described(digest === "large" ? LARGE : String(digest.length)),
    async *write(requests) {
      for await (const { data, action } of requests) {
        const total = BigInt(data.length);
        yield { action, startedAt: undefined, updatedAt: undefined, offset: 0n, total, digest: "" };
      }
    },
  });
  await server.listen(socket);
});
afterAll(async () => {
  channel.close();
  await server.close();
  fs.rmSync(dir, { recursive: true });
});

async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(() => "none", errorCode);
}

/** How a stream with one message of this many bytes ends, and what the server counted. */
async function writeOne(bytes: number): Promise<string> {
  const request = {
    ...{ action: WriteAction.WRITE, ref: "r", total: 0n, expected: "", offset: 0n, labels: {} },
    data: Buffer.alloc(bytes),
  };
  const requests = (async function* () {
    yield request;
  })();
  try {
    let seen = "";
    for await (const { total } of client.write(requests)) seen += total;
    return seen;
  } catch (error) {
    return errorCode(error);
  }
}

test("a message up to the limit is sent, one over it is not", async () => {
  expect((await client.info({ digest: SMALL })).info?.digest).toBe(String(SMALL.length));
  expect(await codeOf(client.info({ digest: LARGE }))).toBe("resource_exhausted");
  expect(await writeOne(SMALL.length)).toBe(String(SMALL.length));
  expect(await writeOne(LARGE.length)).toBe("resource_exhausted");
});

test("an answer over the limit is not sent, and the connection stays in use", async () => {
  expect(await codeOf(client.info({ digest: "large" }))).toBe("resource_exhausted");
  expect((await client.info({ digest: "abc" })).info?.digest).toBe("3");
});

test("an answer over the limit, of a server that has no limit, is not read to its end", async () => {
  const other = new Server({ "grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1 });
  other.addService(
    {
      info: {
        path: `/${service.fullName}/Info`,
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    },
    {
      info: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) =>
        done(null, call.request.length > 2 ? Buffer.alloc(4 * MESSAGE_LIMIT_BYTES) : Buffer.alloc(0)),
    },
  );
  const otherSocket = path.join(dir, "other.sock");
  await new Promise<void>((resolve, reject) => {
    other.bindAsync(`unix:${otherSocket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  const otherChannel = channelTo(otherSocket);
  try {
    const unlimited = createClient(otherChannel, service);
    const call = unlimited.info({ digest: "large" });
    expect(await codeOf(call)).toBe("resource_exhausted");
    expect((await unlimited.info({ digest: "" })).info).toBeUndefined();
  } finally {
    otherChannel.close();
    other.forceShutdown();
  }
});
