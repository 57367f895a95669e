import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  ContentDefinition,
  type ReadContentRequest,
  type ReadContentResponse,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "@longshore/api/containerd/services/content/v1/content";
import { EngineError, errorCode } from "@longshore/errors";
import { type CallOptions, channelTo, createClient, serve } from "./index.ts";

const service = {
  fullName: ContentDefinition.fullName,
  methods: {
    info: ContentDefinition.methods.info,
    read: ContentDefinition.methods.read,
    write: ContentDefinition.methods.write,
  },
} as const;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "rpc-test-"));
const socket = path.join(dir, "s.sock");
const server = serve();
const channel = channelTo(socket);
const client = createClient(channel, service, { metadata: { "containerd-namespace": "test" } });
let streamStopped = Promise.withResolvers<void>();

async function* readChunks(request: ReadContentRequest): AsyncGenerator<ReadContentResponse> {
  try {
    if (request.digest === "slow") await new Promise(() => {});
    for (let offset = request.offset; offset < request.size; offset += 1n) {
      yield { offset, data: Buffer.from(String(offset)) };
      await Promise.resolve();
    }
  } finally {
    streamStopped.resolve();
  }
}

async function* echoOffsets(
  requests: AsyncIterable<WriteContentRequest>,
): AsyncGenerator<WriteContentResponse> {
  for await (const { offset, action } of requests) {
    if (offset > 2n) throw new EngineError("out_of_range", "too far");
    yield { action, startedAt: undefined, updatedAt: undefined, offset, total: 0n, digest: "" };
  }
}

const writeRequest = (offset: bigint): WriteContentRequest => ({
  action: WriteAction.WRITE,
  ref: "r",
  total: 0n,
  expected: "",
  offset,
  data: Buffer.alloc(0),
  labels: {},
});

beforeAll(async () => {
  server.add(service, {
    info(request, context) {
      if (request.digest === "conflict") throw new EngineError("conflict", "name is taken");
      if (request.digest === "slow") return new Promise(() => {});
      const size = BigInt(context.metadata("containerd-namespace")?.length ?? 0);
      return {
        info: { digest: request.digest, size, createdAt: undefined, updatedAt: undefined, labels: {} },
      };
    },
    read: readChunks,
    write: echoOffsets,
  });
  await server.listen(socket);
});

afterAll(async () => {
  channel.close();
  await server.close();
  fs.rmSync(dir, { recursive: true });
});

describe("createClient()", () => {
  test("answers a unary call and sends the metadata", async () => {
    expect((await client.info({ digest: "sha256:0" })).info).toMatchObject({ digest: "sha256:0", size: 4n });
  });

  test("keeps an error code that gRPC does not have", async () => {
    const error = await client.info({ digest: "conflict" }).catch((e: unknown) => e);
    expect(errorCode(error)).toBe("conflict");
    expect((error as Error).message).toBe("name is taken");
  });

  test("ends a call at its deadline and at its signal", async () => {
    expect(errorCode(await client.info({ digest: "slow" }, { timeoutMs: 50 }).catch((e: unknown) => e))).toBe(
      "deadline_exceeded",
    );
    const abort = new AbortController();
    const call = client.info({ digest: "slow" }, { signal: abort.signal }).catch((e: unknown) => e);
    abort.abort();
    expect(errorCode(await call)).toBe("canceled");
  });

  test("streams, and stops the server when the reader leaves", async () => {
    const offsets: bigint[] = [];
    for await (const { offset } of client.read({ digest: "", offset: 0n, size: 5n })) offsets.push(offset);
    expect(offsets).toEqual([0n, 1n, 2n, 3n, 4n]);

    streamStopped = Promise.withResolvers<void>();
    for await (const { offset } of client.read({ digest: "", offset: 0n, size: 1_000_000_000n })) {
      if (offset === 10n) break;
    }
    await streamStopped.promise;
  });

  test("ends a stream at its deadline, its client's own too", async () => {
    const readSlow = async (from: typeof client, options?: CallOptions) => {
      for await (const _ of from.read({ digest: "slow", offset: 0n, size: 1n }, options)) break;
    };
    const hurried = createClient(channel, service, { timeoutMs: 50 });
    for (const attempt of [readSlow(client, { timeoutMs: 50 }), readSlow(hurried)])
      expect(errorCode(await attempt.catch((e: unknown) => e))).toBe("deadline_exceeded");
  });

  test("streams as soon as the server is back, whatever failed while it was away", async () => {
    const place = path.join(dir, "restarted.sock");
    const own = channelTo(place);
    const { read } = createClient(own, { ...service, methods: { read: service.methods.read } });
    const count = async () => {
      let seen = 0;
      for await (const _ of read({ digest: "", offset: 0n, size: 3n })) seen++;
      return seen;
    };
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(errorCode(await count().catch((e: unknown) => e))).toBe("unavailable");
    }
    const late = serve();
    late.add({ ...service, methods: { read: service.methods.read } }, { read: readChunks });
    await late.listen(place);
    expect(await count()).toBe(3);
    own.close();
    await late.close();
  });

  test("talks both ways, and passes on the error that ends the stream", async () => {
    const offsets: bigint[] = [];
    const requests = (async function* () {
      for (let offset = 1n; offset < 4n; offset += 1n) yield writeRequest(offset);
    })();
    const failure = await (async () => {
      for await (const { offset } of client.write(requests)) offsets.push(offset);
      return undefined;
    })().catch((e: unknown) => e);
    expect(offsets).toEqual([1n, 2n]);
    expect(errorCode(failure)).toBe("out_of_range");
  });
});
